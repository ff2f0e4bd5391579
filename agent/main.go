// Tucdesk-agent lets a team's operators reach the machine it runs on. See the
// package host beside it.
package main

import (
	"os"

	"github.com/tucdesk/tucdesk/agent/program"
	"github.com/tucdesk/tucdesk/internal/daemon"
)

func main() { os.Exit(daemon.Main(program.Command())) }
