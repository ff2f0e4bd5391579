// Tucdesk-relayd forwards sealed datagrams. See the package relay beside it.
package main

import (
	"os"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

func main() { os.Exit(daemon.Main(relay.Command())) }
