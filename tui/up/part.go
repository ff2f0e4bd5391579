package up

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/agent/host/errand"
	"github.com/tucdesk/tucdesk/agent/host/gate/shim"
	"github.com/tucdesk/tucdesk/agent/program"
	"github.com/tucdesk/tucdesk/apid/api"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/relayd/relay"
	"github.com/tucdesk/tucdesk/rendezvousd/rendezvous"
)

// parts are the programs that this one can be, by the names that Part takes.
func parts() map[string]func() daemon.Command {
	return map[string]func() daemon.Command{
		"agent": func() daemon.Command { return program.Command("part", "agent") },
		"apid":  api.Command, "relayd": relay.Command, "rendezvousd": rendezvous.Command,
	}
}

// Shim are the arguments with which `tucdesk` is the exec gate's shim.
func Shim() []string { return program.ShimArgs("part", "agent") }

// Errand are the arguments with which `tucdesk` is the process of an agent's copy,
// forward or proxy.
func Errand() []string { return program.ErrandArgs("part", "agent") }

// readyLine is what a part prints once it serves.
const readyLine = "ready"

// Part makes this process one of the programs, with that program's arguments,
// and returns its exit code. It ends when standard input ends: whoever started
// it holds the other side, and closes it by stopping or by dying in any way.
func Part(name string, args []string) int {
	if name == "agent" && slices.Equal(args, program.ShimArgs()) {
		// Standard input is that of the shell which it is about to become.
		fmt.Fprintln(os.Stderr, shim.Main())
		return 1
	}
	if name == "agent" && len(args) > 0 && slices.Equal(args[:1], program.ErrandArgs()) {
		// Standard input is what is copied or forwarded.
		if err := errand.Main(args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	command, ok := parts()[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "up: no part is named %q: there are %s\n", name, strings.Join(slices.Sorted(maps.Keys(parts())), ", "))
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	c := command()
	build := c.New
	c.New = func(doc []byte, env daemon.Env) (daemon.Service, error) {
		s, err := build(doc, env)
		return announced{s}, err
	}
	return daemon.MainContext(ctx, c, args, nil)
}

// announced is a service that says on standard output when it is ready. Part
// gives it no environment of settings: a demo is the same on every machine.
type announced struct{ daemon.Service }

// Run implements [daemon.Service].
func (a announced) Run(ctx context.Context, ready func()) error {
	return a.Service.Run(ctx, func() {
		ready()
		fmt.Println(readyLine)
	})
}
