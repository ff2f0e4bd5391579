// Tucdesk-rendezvousd knows which agents are online and carries offers to them.
// See the package rendezvous beside it.
package main

import (
	"os"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/rendezvousd/rendezvous"
)

func main() { os.Exit(daemon.Main(rendezvous.Command())) }
