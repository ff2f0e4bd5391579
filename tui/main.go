// Tucdesk is the console and the command line. See the package cli beside it.
package main

import (
	"os"

	"github.com/tucdesk/tucdesk/backend/all"
	"github.com/tucdesk/tucdesk/tui/cli"
)

func main() { os.Exit(cli.Main(all.Backends())) }
