package gate

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/agent/host/gate/shim"
)

const shimArg = "shim-of-the-exec-gate"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == shimArg {
		fmt.Fprintln(os.Stderr, shim.Main())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

type ended struct {
	p   *Program
	o   Outcome
	why string
}

type judge struct {
	judge  func(*Program) Answer
	decide func(context.Context, *Program) error
	mu     sync.Mutex
	ends   []ended
}

func (j *judge) Judge(p *Program) Answer { return j.judge(p) }
func (j *judge) Decide(ctx context.Context, p *Program) error {
	return j.decide(ctx, p)
}
func (j *judge) Ended(p *Program, o Outcome, why string) {
	j.mu.Lock()
	j.ends = append(j.ends, ended{p, o, why})
	j.mu.Unlock()
}

func TestTry(t *testing.T) {
	g, err := New(shimArg)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	j := &judge{judge: func(p *Program) Answer {
		if strings.HasSuffix(p.Program().Path, "/rm") {
			return Refuse
		}
		return Start
	}}
	cmd := exec.Command("/bin/sh", "-c", "id -u; ls /etc | wc -l; /bin/rm x; for i in 1 2 3; do /bin/true; done; echo hi; nosuch; env perl -e 'exec \"rm\",\"y\"; print \"no $!\n\"'")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	t0 := time.Now()
	s, err := g.Start(cmd, j)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("start", time.Since(t0), s.Features())
	cmd.Wait()
	s.Close()
	fmt.Println(out.String())
	for _, e := range j.ends {
		fmt.Println(e.p.TID, e.p.Loads, e.p.Files, e.o, e.why)
	}
}
