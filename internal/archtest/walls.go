package archtest

import "strings"

// module is the path of this module.
const module = "github.com/tucdesk/tucdesk"

// services are the packages that hold one daemon each. All of them run in one
// process or in five.
var services = []string{"agent/host", "apid/api", "relayd/relay", "rendezvousd/rendezvous"}

// wall says what some packages may never reach.
//
// Patterns are paths below the module ("internal/key"), paths of the standard
// library ("net/http") or full paths of other modules. "x/..." is x and all
// below it.
type wall struct {
	name  string   // as in .golangci.yml
	from  []string // packages inside the wall
	not   []string // what they must not reach
	allow []string // exceptions from not
	// through are libraries that the row does not look into.
	through []string
	// ours rows look at what these packages import themselves, and at what
	// the packages of this module import that they reach. Others look at
	// everything that ends up in the binary.
	ours bool
	why  string
}

// serverCode is what only servers need.
var serverCode = []string{
	"internal/store/...", "github.com/jackc/...", "modernc.org/sqlite/...", "github.com/mattn/go-sqlite3/...",
	"github.com/aws/...", "github.com/minio/...", "github.com/nats-io/...",
}

var fixed = []wall{
	{
		name: "relay-and-rendezvous-are-blind",
		from: []string{"relayd/...", "rendezvousd/..."},
		not:  []string{"internal/session/...", "internal/channel/...", "internal/recording/..."},
		why:  `"the relay cannot decrypt" is a fact that go list -deps shows`,
	},
	{
		name: "agent-is-small",
		from: []string{"agent/..."},
		not:  append([]string{"charm.land/...", "github.com/charmbracelet/..."}, serverCode...),
		why:  "least code on the customer's machine",
	},
	{
		name: "network-half-has-no-keys",
		from: []string{"agent/host/uplink/...", "agent/host/halves/...", "agent/host/link"},
		not:  []string{"internal/session/...", "internal/channel/...", "agent/ledger/...", "agent/host", "agent/newcomer/..."},
		why:  "what faces the network knows neither a session's keys nor what the agent must not forget",
	},
	{
		name: "console-cannot-leak",
		from: []string{"tui/console/..."},
		not:  []string{"net", "net/http", "crypto", "crypto/..."},
		// It has types for addresses of package net.
		through: []string{"golang.org/x/sys/windows"},
		why:     "a screen that cannot leak: what it shows comes in, and nothing goes out",
	},
	{
		name: "console-starts-nothing",
		from: []string{"tui/console/..."},
		not:  []string{"os/exec", "plugin", "syscall"},
		ours: true,
		why:  "Bubble Tea can start programs; text from a network must find no way to ask for it",
	},
	{
		name:  "console-knows-the-seam-only",
		from:  []string{"tui/console/..."},
		not:   []string{module + "/..."},
		allow: []string{"backend", "internal/vt/...", "internal/sanitize/..."},
		why:   "the console works for every backend, also one that we did not write",
	},
	{
		name: "services-stand-alone",
		from: []string{"agent/...", "apid/...", "relayd/...", "rendezvousd/..."},
		not:  []string{"tui/...", "backend/..."},
		why:  "one process or five: same code",
	},
	{
		name: "internal-serves-services",
		from: []string{"internal/..."}, // tests may: internal/e2e is only tests
		not:  []string{"agent/...", "apid/...", "relayd/...", "rendezvousd/...", "tui/...", "backend/..."},
		why:  "what services share can't depend on one of them",
	},
	{
		name: "pure",
		from: []string{
			"internal/key/...", "internal/envelope/...", "internal/session/...", "internal/replay/...", "internal/token/...",
			"internal/roster/...", "internal/policy/...", "internal/runbook/...", "internal/approval/...", "internal/audit/...",
			"internal/vt/...", "internal/contact/...", "internal/words/...", "internal/gating/...", "internal/watching/...",
		},
		not:  []string{"os", "os/exec", "database/sql", "net/http", "log/slog"},
		ours: true,
		why:  "decisions that are pure can be fuzzed, tested in simulated time and read without the rest",
	},
	{
		name: "second-implementation-stands-alone",
		from: []string{"internal/session/independent"},
		not:  []string{module + "/...", "github.com/...", "filippo.io/...", "charm.land/..."},
		why:  "two implementations that share code agree for the wrong reason",
	},
	{
		name: "second-implementation-is-for-tests",
		from: []string{"agent/...", "apid/...", "relayd/...", "rendezvousd/...", "tui/...", "backend/..."},
		not:  []string{"internal/session/independent"},
		why:  "it erases no key and tells why it refuses",
	},
	{
		name: "backend-is-a-public-seam",
		from: []string{"backend"},
		not:  []string{"internal/...", "github.com/...", "golang.org/...", "charm.land/...", "modernc.org/..."},
		why:  "whoever writes a backend of their own depends on the standard library only",
	},
	{
		name: "paths-carry-what-they-cannot-read",
		from: []string{"internal/path/..."},
		not:  []string{"internal/session/...", "internal/channel/...", "internal/key/..."},
		why:  "sealing is above the path; what opens sockets holds no key",
	},
	{
		name: "credentials-are-a-leaf",
		from: []string{"internal/path/cred"},
		not:  []string{module + "/...", "os", "net", "net/http", "log/slog"},
		ours: true,
		why:  "apid and relayd share it, and neither may drag in the other's code",
	},
	{
		name: "frame-knows-no-service",
		from: []string{"internal/daemon/..."},
		not:  []string{module + "/..."},
		why:  "the frame serves five programs and is understood without any of them",
	},
}

// walls are all rows, with one for each service: services never reach each
// other.
func walls() []wall {
	rows := fixed
	for _, s := range services {
		w := wall{
			name: "service-alone-" + top(s),
			from: []string{top(s) + "/..."},
			why:  "one process or five: same code; what two services share is in internal",
		}
		for _, o := range services {
			if o != s {
				w.not = append(w.not, top(o)+"/...")
			}
		}
		rows = append(rows, w)
	}
	return rows
}

// top is the first element of a path.
func top(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}
