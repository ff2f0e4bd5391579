package up

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/tucdesk/tucdesk/apid/api/keys"
	"github.com/tucdesk/tucdesk/internal/daemon"
)

// processes runs a demo's parts as processes of their own, and keeps what
// ready.json says of them true when one is started again.
type processes struct {
	dir    string
	logger *slog.Logger

	mu    sync.Mutex
	pids  map[string]int
	ready *Ready // once it is published
	path  string // of ready.json
}

func newProcesses(dir string, logger *slog.Logger) *processes {
	return &processes{dir: dir, logger: logger, pids: map[string]int{}, path: filepath.Join(dir, "ready.json")}
}

// member gives a part with a configuration file at path, which it writes. name is
// the part's in ready.json.
func (p *processes) member(part, name, path string, settings map[string]any) (daemon.Member, error) {
	settings["admin_listen"] = "" // the usual port is one, and demos are many
	b, err := yaml.Marshal(settings)
	if err != nil {
		return daemon.Member{}, fmt.Errorf("up: %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return daemon.Member{}, fmt.Errorf("up: %w", err)
	}
	if err := writeFile(path, b); err != nil {
		return daemon.Member{}, err
	}
	return daemon.Member{Name: name, Service: &child{
		part: part, config: path, log: filepath.Join(p.dir, "logs", name+".log"), logger: p.logger,
		started: func(pid int) { p.started(name, pid) },
	}}, nil
}

func (p *processes) started(name string, pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pids[name] = pid
	if p.ready == nil {
		return
	}
	p.ready.Pids = maps.Clone(p.pids)
	if err := writeReady(p.path, *p.ready); err != nil {
		p.logger.Error("ready.json still names a process that has ended", "error", err)
	}
}

// publish writes ready.json, and from here on keeps it.
func (p *processes) publish(r Ready) (Ready, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Pids = maps.Clone(p.pids)
	p.ready = &r
	return r, writeReady(p.path, r)
}

// servers gives the three servers, in the order of their start.
func (p *processes) servers(s *servers) (daemon.Group, error) {
	var all daemon.Group
	for _, part := range []struct {
		name     string
		settings map[string]any
	}{
		{"relayd", map[string]any{"listen": s.relayAddr, "secret_file": filepath.Join(s.dir, keys.RelayFile), "api_url": s.apiURL}},
		{"apid", map[string]any{
			"listen": hostPort(s.apiURL), "url": s.apiURL, "database": s.database, "keys_dir": s.dir,
			"recordings": filepath.Join(s.dir, "recordings"), "log_marks": filepath.Join(s.dir, marksFile),
			"relay_secret_file": filepath.Join(s.dir, keys.RelayFile), "relays": []string{s.relayAddr},
			"rendezvous_url": s.rendezvousURL, "rendezvous_key": joinKeys(s.meet), "founding": "first",
		}},
		{"rendezvousd", map[string]any{
			"listen": hostPort(s.rendezvousURL), "url": s.rendezvousURL, "api_url": s.apiURL,
			"key_file": filepath.Join(s.dir, "rendezvous.key"), "relay_secret_file": filepath.Join(s.dir, keys.RelayFile),
		}},
	} {
		m, err := p.member(part.name, part.name, filepath.Join(s.dir, part.name+".yaml"), part.settings)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func joinKeys(r keys.Ring) string {
	var texts []string
	for _, public := range r.Publics() {
		texts = append(texts, public.String())
	}
	return strings.Join(texts, ",")
}

// agent gives one machine's agent.
func (p *processes) agent(d *Demo, s *servers, t *enrolled, name string) (daemon.Member, error) {
	dir := d.agentDir(name)
	return p.member("agent", "agent "+name, filepath.Join(dir, "agent.yaml"), map[string]any{
		"dir": dir, "name": name, "team_id": t.homes[founder].Profile.TeamID, "team_fp": t.fp.String(),
		"api_url": s.apiURL, "rendezvous_url": s.rendezvousURL, "demo": true,
	})
}
