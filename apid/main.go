// Tucdesk-apid is the API server of TucDesk. See the package api beside it.
package main

import (
	"os"

	"github.com/tucdesk/tucdesk/apid/api"
	"github.com/tucdesk/tucdesk/internal/daemon"
)

func main() { os.Exit(daemon.Main(api.Command())) }
