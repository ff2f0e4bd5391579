package desk

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
)

// browser gives what opens an address in this person's browser; nil where there is none
// to be seen, as at the far end of SSH. The address is an argument of its own, and
// begins with http, so it is no option.
func browser(environ func(string) string) func(url string) error {
	var argv []string
	switch runtime.GOOS {
	case "darwin":
		argv = []string{"open"}
	case "windows":
		argv = []string{"rundll32", "url.dll,FileProtocolHandler"}
	default:
		if environ("DISPLAY") == "" && environ("WAYLAND_DISPLAY") == "" {
			return nil
		}
		argv = []string{"xdg-open"}
	}
	if environ("SSH_TTY") != "" {
		return nil
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil
	}
	return func(url string) error {
		cmd := exec.Command(path, append(argv[1:], url)...)
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, null // the screen is the console's
		if err := cmd.Start(); err != nil {
			return errors.New("the browser could not be started")
		}
		go func() { _ = cmd.Wait() }() // however it ends, it was asked
		return nil
	}
}
