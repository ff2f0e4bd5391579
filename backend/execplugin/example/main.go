// Example is a backend as a program of its own, whole: the team of package mem, under a
// scheme of its own. Build it as tucdesk-backend-example, put it on PATH, and run
// `tucdesk --backend example:alice`.
package main

import (
	"os"

	"github.com/tucdesk/tucdesk/backend/execplugin"
	"github.com/tucdesk/tucdesk/backend/mem"
)

func main() {
	d := mem.Driver()
	d.Scheme, d.Doc = "example", "a made-up team in memory, in a program of its own: example:NAME"
	os.Exit(execplugin.Serve(d))
}
