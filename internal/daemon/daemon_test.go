package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/cobra"
)

// serviceFunc lets a test be a service.
type serviceFunc func(ctx context.Context, ready func()) error

func (f serviceFunc) Run(ctx context.Context, ready func()) error { return f(ctx, ready) }

func untilDone(ctx context.Context, ready func()) error {
	ready()
	<-ctx.Done()
	return nil
}

type testConfig struct {
	Listen  string        `yaml:"listen" doc:"address to listen on"`
	Max     int           `yaml:"max" doc:"how many"`
	Small   uint8         `yaml:"small" doc:"a small number"`
	Wait    time.Duration `yaml:"wait" doc:"how long"`
	Strict  bool          `yaml:"strict" doc:"be strict"`
	Origins []string      `yaml:"origins" doc:"who may ask"`
	Store   struct {
		Path string `yaml:"path" doc:"where rows are kept"`
	} `yaml:"store"`
	Shared `yaml:",inline"`
}

// Shared are settings that several programs have.
type Shared struct {
	Cert string `yaml:"cert" doc:"a file"`
}

func defaults() testConfig {
	return testConfig{Listen: "127.0.0.1:1", Max: 10, Wait: time.Second, Origins: []string{"a"}}
}

// ran is what one call of a test program did.
type ran struct {
	code        int
	out, stderr string
	cfg         testConfig // as the service decoded it
	env         Env
}

// runTest runs a program that keeps its configuration and stops at once.
func runTest(t *testing.T, args, environ []string) ran {
	t.Helper()
	var r ran
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := Command{Name: "tucdesk-testd", Doc: "A test program.", Config: defaults()}
	c.New = func(doc []byte, env Env) (Service, error) {
		r.env = env
		if err := Decode(doc, &r.cfg); err != nil {
			return nil, err
		}
		return serviceFunc(func(ctx context.Context, ready func()) error {
			cancel()
			return untilDone(ctx, ready)
		}), nil
	}
	var out, stderr bytes.Buffer
	r.code = run(ctx, c, args, environ, &out, &stderr)
	r.out, r.stderr = out.String(), stderr.String()
	return r
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "listen: file:1\nmax: 20\nwait: 2s\nstore: {path: /file}\nlog_level: debug\n")
	environ := []string{"TUCDESK_TESTD_MAX=30", "TUCDESK_TESTD_WAIT=3s", "TUCDESK_TESTD_STORE_PATH=/env",
		"TUCDESK_OTHER_MAX=99", "HOME=/x"}
	r := runTest(t, []string{"--config", file, "--wait=4s", "--origins=b, c", "--strict"}, environ)
	if r.code != exitOK {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	want := testConfig{Listen: "file:1", Max: 30, Wait: 4 * time.Second, Strict: true, Origins: []string{"b", "c"}}
	want.Store.Path = "/env"
	got, _ := json.Marshal(r.cfg)
	exp, _ := json.Marshal(want)
	if !bytes.Equal(got, exp) {
		t.Errorf("configuration\n got %s\nwant %s", got, exp)
	}
	if !r.env.Logger.Enabled(t.Context(), -4) {
		t.Error("log_level of the file was not applied")
	}
}

func TestDefaultsAlone(t *testing.T) {
	for _, doc := range []string{"", "# nothing\n", "---\n", "null\n"} {
		r := runTest(t, []string{"--config", writeFile(t, doc)}, nil)
		if r.code != exitOK || r.cfg.Max != 10 || !slices.Equal(r.cfg.Origins, []string{"a"}) {
			t.Errorf("%q: exit %d, %+v, %s", doc, r.code, r.cfg, r.stderr)
		}
	}
}

func TestConfigFileFromEnvironment(t *testing.T) {
	file := writeFile(t, "max: 77\n")
	if r := runTest(t, nil, []string{"TUCDESK_TESTD_CONFIG=" + file}); r.cfg.Max != 77 {
		t.Errorf("got %+v, %s", r.cfg, r.stderr)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, file string
		args, env  []string
		want       string // part of what is printed
	}{
		{name: "unknown key", file: "max: 1\nlisten2: x\n", want: ":2:1:"},
		{name: "unknown nested key", file: "store:\n  pat: x\n", want: ":2:3:"},
		{name: "duplicate key", file: "max: 1\nmax: 2\n", want: ":2:1:"},
		{name: "duplicate key of the frame", file: "log_level: info\nlog_level: debug\n", want: ":2:1:"},
		{name: "wrong type", file: "listen: a\nmax: many\n", want: ":2:6:"},
		{name: "wrong duration", file: "max: 1\nwait: soon\n", want: ":2:1:"},
		{name: "not YAML", file: "max: [1\n", want: ":1:"},
		{name: "a list", file: "- max\n", want: ":1:1:"},
		{name: "two documents", file: "max: 1\n---\nmax: 2\n", want: "more than one"},
		{name: "too long", file: "# " + strings.Repeat("x", maxConfig), want: "longer than"},
		{name: "unknown variable", env: []string{"TUCDESK_TESTD_MXA=1"}, want: "TUCDESK_TESTD_MXA"},
		{name: "wrong variable", env: []string{"TUCDESK_TESTD_SMALL=256"}, want: "TUCDESK_TESTD_SMALL"},
		{name: "unknown flag", args: []string{"--mxa=1"}, want: "mxa"},
		{name: "wrong flag", args: []string{"--max=many"}, want: "--max"},
		{name: "wrong bool flag", args: []string{"--strict=perhaps"}, want: "--strict"},
		{name: "argument", args: []string{"now"}, want: "now"},
		{name: "missing file", args: []string{"--config=/nonexistent/c.yaml"}, want: "no such file"},
		{name: "log level", args: []string{"--log-level=loud"}, want: "log_level"},
		{name: "log format", args: []string{"--log-format=xml"}, want: "log_format"},
		{name: "stop timeout", args: []string{"--stop-timeout=0"}, want: "stop_timeout"},
		{name: "open admin", args: []string{"--admin-listen=0.0.0.0:0"}, want: "insecure_admin"},
		{name: "admin on every address", args: []string{"--admin-listen=:0"}, want: "insecure_admin"},
		{name: "admin by name", args: []string{"--admin-listen=example.com:80"}, want: "insecure_admin"},
		{name: "admin without port", args: []string{"--admin-listen=127.0.0.1"}, want: "admin_listen"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			if tt.file != "" {
				args = append(args, "--config", writeFile(t, tt.file))
			}
			r := runTest(t, args, tt.env)
			if r.code != exitUsage && tt.name != "argument" {
				t.Errorf("exit %d, want %d", r.code, exitUsage)
			}
			if r.code == exitOK || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("exit %d and\n%swant something with %q", r.code, r.stderr, tt.want)
			}
		})
	}
}

func TestCheckConfigStartsNothing(t *testing.T) {
	c := Command{Name: "tucdesk-testd", New: func([]byte, Env) (Service, error) {
		return serviceFunc(func(context.Context, func()) error { panic("started") }), nil
	}}
	var out, stderr bytes.Buffer
	if code := run(t.Context(), c, []string{"--check-config"}, nil, &out, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	if out.String() != "configuration ok\n" {
		t.Errorf("printed %q", out.String())
	}
}

func TestNewRefuses(t *testing.T) {
	c := Command{Name: "tucdesk-testd", New: func([]byte, Env) (Service, error) { return nil, errors.New("relay: no secret") }}
	var stderr bytes.Buffer
	if code := run(t.Context(), c, nil, nil, io.Discard, &stderr); code != exitUsage {
		t.Errorf("exit %d, want %d", code, exitUsage)
	}
	if got := stderr.String(); got != "tucdesk-testd: relay: no secret\n" {
		t.Errorf("printed %q", got)
	}
	c.New = nil
	if code := run(t.Context(), c, nil, nil, io.Discard, io.Discard); code == exitOK {
		t.Error("a program without a service ran")
	}
}

func TestHelpNamesEverySetting(t *testing.T) {
	r := runTest(t, []string{"--help"}, nil)
	for _, want := range []string{"--config", "--check-config", "--listen", "address to listen on", `"127.0.0.1:1"`,
		"--store-path", "--log-level", "--admin-listen", "TUCDESK_TESTD_KEY", "version"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("help lacks %q:\n%s", want, r.out)
		}
	}
}

func TestVersion(t *testing.T) {
	if r := runTest(t, []string{"version"}, nil); r.code != exitOK || !strings.HasPrefix(r.out, "tucdesk-testd ") {
		t.Errorf("exit %d, %q", r.code, r.out)
	}
	r := runTest(t, []string{"version", "--json"}, nil)
	var b Build
	if err := json.Unmarshal([]byte(r.out), &b); err != nil || b.Version == "" || b.Go == "" {
		t.Errorf("version --json: %v, %q", err, r.out)
	}
}

func TestSettingNamesDoNotCollide(t *testing.T) {
	type twice struct {
		Level string `yaml:"log_level"`
	}
	c := Command{Name: "tucdesk-testd", Config: twice{}, New: func([]byte, Env) (Service, error) { return nil, nil }}
	if code := run(t.Context(), c, nil, nil, io.Discard, io.Discard); code != exitUsage {
		t.Errorf("exit %d, want %d", code, exitUsage)
	}
}

// buffer is a bytes.Buffer that two goroutines may use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestAdmin(t *testing.T) {
	var log buffer
	started, goOn, isReady := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c := Command{Name: "tucdesk-testd", Admin: "127.0.0.1:0", New: func([]byte, Env) (Service, error) {
		return serviceFunc(func(ctx context.Context, ready func()) error {
			close(started)
			<-goOn
			ready()
			close(isReady)
			<-ctx.Done()
			return nil
		}), nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int)
	go func() { code <- run(ctx, c, nil, nil, io.Discard, &log) }()
	<-started
	addr := regexp.MustCompile(`addr=(\S+)`).FindStringSubmatch(log.String())
	if addr == nil {
		t.Fatalf("no address in the log:\n%s", log.String())
	}
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + addr[1] + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, _ := get("/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	if status, _ := get("/readyz"); status != 503 {
		t.Errorf("readyz before ready: %d", status)
	}
	close(goOn)
	<-isReady
	if status, _ := get("/readyz"); status != 200 {
		t.Errorf("readyz: %d", status)
	}
	if status, body := get("/metrics"); status != 200 || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics: %d, %.100q", status, body)
	}
	if status, _ := get("/debug/pprof/"); status != 404 {
		t.Errorf("an address nobody asked for answers %d", status)
	}
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit %d:\n%s", got, log.String())
	}
	if _, err := http.Get("http://" + addr[1] + "/healthz"); err == nil {
		t.Error("the admin listener outlives the service")
	}
}

func TestEndings(t *testing.T) {
	tests := []struct {
		name    string
		service serviceFunc
		want    error
	}{
		{"clean", untilDone, nil},
		{"fails", func(context.Context, func()) error { return io.ErrClosedPipe }, io.ErrClosedPipe},
		{"ends by itself", func(context.Context, func()) error { return nil }, ErrEnded},
		{"fails while it stops", func(ctx context.Context, _ func()) error {
			<-ctx.Done()
			return io.ErrShortWrite
		}, io.ErrShortWrite},
		{"never stops", func(ctx context.Context, _ func()) error {
			<-ctx.Done()
			time.Sleep(time.Hour)
			return nil
		}, ErrStuck},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				p := process{env: NewEnv(nil), service: tt.service, settings: settings{StopTimeout: 5 * time.Second}}
				begun := time.Now()
				err := p.serve(ctx)
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if took := time.Since(begun); took > time.Minute+5*time.Second {
					t.Errorf("took %v", took)
				}
				time.Sleep(2 * time.Hour) // let the stuck one go
			})
		})
	}
}

func TestGroupOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []string
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, s)
		}
		member := func(name string) Member {
			return Member{name, serviceFunc(func(ctx context.Context, ready func()) error {
				note("+" + name)
				time.Sleep(time.Second)
				ready()
				<-ctx.Done()
				time.Sleep(time.Second)
				note("-" + name)
				return nil
			})}
		}
		ctx, cancel := context.WithCancel(t.Context())
		g := Group{member("a"), member("b"), member("c")}
		if err := g.Run(ctx, func() { note("ready"); cancel() }); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(events, " "), "+a +b +c ready -c -b -a"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestGroupFails(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name  string
		bad   serviceFunc
		ready bool
		want  error
	}{
		{"before it is ready", func(context.Context, func()) error { return boom }, false, boom},
		{"later", func(ctx context.Context, ready func()) error {
			ready()
			time.Sleep(time.Minute)
			return boom
		}, true, boom},
		{"by ending", func(ctx context.Context, ready func()) error { ready(); return nil }, true, ErrEnded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stopped := 0
				good := serviceFunc(func(ctx context.Context, ready func()) error {
					defer func() { stopped++ }()
					return untilDone(ctx, ready)
				})
				err := Group{{"good", good}, {"bad", tt.bad}}.Run(t.Context(), func() {})
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "bad: ") {
					t.Errorf("got %v, want bad: %v", err, tt.want)
				}
				if stopped != 1 {
					t.Errorf("%d members stopped", stopped)
				}
			})
		})
	}
}

func TestGroupStopsWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		slow := serviceFunc(func(ctx context.Context, _ func()) error { <-ctx.Done(); return nil })
		never := serviceFunc(func(context.Context, func()) error { panic("started") })
		err := Group{{"slow", slow}, {"never", never}}.Run(ctx, func() { t.Error("ready") })
		if err != nil {
			t.Error(err)
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add("max: 1\nstore: {path: x}\nlog_level: debug\n")
	f.Add("listen: a\norigins: [a, b]\nwait: 1m\nstrict: true\nsmall: 255\n")
	f.Add("a: &a [*a]\nmax: !!int 3\n<<: {max: 1}\n")
	f.Add("? [a]\n: b\n")
	f.Fuzz(func(t *testing.T, doc string) {
		if _, err := parser.ParseBytes([]byte(doc), 0); err != nil {
			return
		}
		cfg, err := newConfig(Command{Name: "tucdesk-testd", Config: defaults()})
		if err != nil {
			t.Fatal(err)
		}
		if cfg.parse("c.yaml", []byte(doc)) != nil {
			return
		}
		// What was taken reaches the service unchanged.
		out, err := cfg.document()
		if err != nil {
			t.Fatal(err)
		}
		var again testConfig
		if err := Decode(out, &again); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		a, _ := json.Marshal(cfg.own.Interface())
		b, _ := json.Marshal(again)
		if !bytes.Equal(a, b) {
			t.Errorf("in %s\nout %s", a, b)
		}
	})
}

// TestTasks: a task gets the same configuration as the service, from the same
// places, and a wrong one starts nothing.
func TestTasks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("max: 3\nwait: 2s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name          string
		args, environ []string
		code          int
		ran           bool
	}{
		{"file, environment, flag", []string{"count", "x", "--config", file, "--listen", "flag"}, []string{"TUCDESK_TESTD_WAIT=5s"}, exitOK, true},
		{"an unknown flag", []string{"count", "x", "--no-such"}, nil, exitUsage, false},
		{"an unknown variable", []string{"count", "x"}, []string{"TUCDESK_TESTD_NONE=1"}, exitUsage, false},
		{"too few arguments", []string{"count"}, nil, exitFailed, false},
		{"a task that fails", []string{"count", "fail", "--config", file, "--listen", "flag", "--wait", "5s"}, nil, exitFailed, true},
	} {
		var got testConfig
		ran := false
		c := Command{Name: "tucdesk-testd", Doc: "A test program.", Config: defaults(), Tasks: []Task{{
			Command: &cobra.Command{Use: "count WHAT", Short: "Count", Args: cobra.ExactArgs(1)},
			Run: func(_ *cobra.Command, cfg []byte, args []string) error {
				ran = true
				if args[0] == "fail" {
					return errors.New("failed")
				}
				return Decode(cfg, &got)
			},
		}}}
		var out, errs bytes.Buffer
		if code := run(t.Context(), c, test.args, test.environ, &out, &errs); code != test.code || ran != test.ran {
			t.Errorf("%s: exit %d, ran %v: %s", test.name, code, ran, errs.String())
		}
		if test.code == exitOK && (got.Max != 3 || got.Listen != "flag" || got.Wait != 5*time.Second) {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}
