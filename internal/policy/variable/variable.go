// Package variable says which environment variables make a program do something else
// than its arguments say. Policy reads command lines by it, the exec gate shows and
// verifies by it, and agents and clients know by it what needs nobody's approval.
//
// Invariants: the lists are the only ones in TucDesk. Nobody can know them all, so where
// a list must be complete it is Harmless, and what it does not name is not.
//
// It is pure and imports nothing of this module.
package variable

import "strings"

// Names that end in * are beginnings.
var (
	// Loads put code, or another meaning of the words, into a program itself.
	loads = []string{
		"LD_*", "DYLD_*", "GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH", "NLSPATH", "GETCONF_DIR",
		"ENV", "BASH_ENV", "BASH_FUNC_*", "BASHOPTS", "SHELLOPTS", "PROMPT_COMMAND", "PS4", "IFS", "ZDOTDIR",
		"PYTHON*", "PERL*", "RUBY*", "GEM_HOME", "GEM_PATH", "NODE_OPTIONS", "NODE_PATH", "NODE_REPL_EXTERNAL_MODULE",
		"LUA_INIT*", "LUA_PATH*", "LUA_CPATH*", "AWKPATH", "AWKLIBPATH", "CLASSPATH",
		"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "VIMINIT", "EXINIT", "GVIMINIT",
		"OPENSSL_CONF", "OPENSSL_MODULES", "SSLKEYLOGFILE",
	}
	// Starts lead a program to start other ones.
	starts = []string{
		"PATH", "EDITOR", "VISUAL", "SUDO_EDITOR", "SYSTEMD_EDITOR", "KUBE_EDITOR", "PAGER", "MANPAGER", "SYSTEMD_PAGER",
		"LESSOPEN", "LESSCLOSE", "LESS", "BROWSER", "SSH_ASKPASS", "SUDO_ASKPASS", "RSYNC_RSH", "CVS_RSH",
		"GIT_SSH", "GIT_SSH_COMMAND", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER", "GIT_EXTERNAL_DIFF", "GIT_ASKPASS",
		"GIT_PROXY_COMMAND", "GIT_CONFIG*", "GIT_EXEC_PATH", "TAR_OPTIONS", "MAKEFLAGS", "MAKEFILES",
	}
	// Leads make it look, or work, elsewhere.
	leads = []string{
		"CDPATH", "RES_OPTIONS", "HOSTALIASES", "TERMINFO*", "TERMCAP", "GIT_*", "SYSTEMD_*", "DOCKER_*", "KUBECONFIG",
		"GOFLAGS", "GOENV", "CARGO_*", "RUSTC_WRAPPER", "CC", "CXX",
	}
	// Harmless change how a program looks, not what it does.
	harmless = []string{"TERM", "COLORTERM", "NO_COLOR", "LANG", "LANGUAGE", "LC_*", "TZ", "COLUMNS", "LINES"}
)

// Loads gives the name, or the beginning with *, by which a variable is known to make a
// program itself another one; "" if it is not.
func Loads(name string) string { return among(loads, name) }

// Starts likewise, for those that lead a program to start other ones.
func Starts(name string) string { return among(starts, name) }

// IsRisky reports whether a variable is known to make a program do something else than
// its arguments say, in whatever way.
func IsRisky(name string) bool {
	return among(loads, name) != "" || among(starts, name) != "" || among(leads, name) != ""
}

// IsHarmless reports whether a variable only changes how a program looks.
func IsHarmless(name string) bool { return among(harmless, name) != "" }

func among(list []string, name string) string {
	for _, known := range list {
		if prefix, ok := strings.CutSuffix(known, "*"); ok && strings.HasPrefix(name, prefix) || name == known {
			return known
		}
	}
	return ""
}
