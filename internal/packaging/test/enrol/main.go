// Enrol founds a team on freshly installed servers and enrols one machine, for
// the test of the packages. It is in no package.
//
// It reads what `tucdesk-apid keys init` and `tucdesk-agent keys` have printed,
// signs the founder, the servers, the machine and a policy with a key that it
// makes, and prints the agent's settings. The founder, alice, may run commands
// on the machine, which is called web-1, as the login user and as root.
package main

import (
	"context"
	"encoding"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

type options struct{ home, api, rendezvous, relay, servers, agent, user string }

func main() {
	var o options
	flag.StringVar(&o.home, "home", "", "the founder's TUCDESK_HOME; made")
	flag.StringVar(&o.api, "api", "http://127.0.0.1:8443", "address of apid")
	flag.StringVar(&o.rendezvous, "rendezvous", "http://127.0.0.1:8444", "address of rendezvousd")
	flag.StringVar(&o.relay, "relay", "127.0.0.1:3478", "address of relayd")
	flag.StringVar(&o.servers, "servers", "", "what tucdesk-apid keys init has printed")
	flag.StringVar(&o.agent, "agent", "", "what tucdesk-agent keys has printed")
	flag.StringVar(&o.user, "user", "root", "the machine's login user")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "enrol:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	home, err := profile.Create(o.home)
	if err != nil {
		return err
	}
	now := time.Now()
	exp := now.Add(24 * time.Hour).Unix()
	genesis, err := roster.Found(roster.Genesis{
		TeamID: "acme", Threshold: 1, Created: now.Unix(),
		Admins: []roster.AdminDevice{{
			MemberID: "alice", Email: "alice@example.com", Roles: []string{"sre"},
			Device: roster.DeviceBody{Public: home.Identity.Public(), Recipient: home.Unsealer.Recipient(), Exp: exp},
		}},
	}, home.Identity)
	if err != nil {
		return err
	}
	r, err := roster.Open(genesis)
	if err != nil {
		return err
	}
	client, err := wire.NewClient(wire.Options{URL: o.api, TeamID: r.TeamID(), Identity: home.Identity})
	if err != nil {
		return err
	}
	if _, err := client.Found(ctx, genesis); err != nil {
		return fmt.Errorf("found the team: %w", err)
	}
	if err := home.Enrol(profile.Profile{API: o.api, Rendezvous: o.rendezvous, TeamFP: r.TeamFP(), TeamID: r.TeamID()}, genesis); err != nil {
		return err
	}
	page, err := client.Roster(ctx, r.Head().Seq)
	if err != nil {
		return err
	}
	if r, err = home.Learn(page.Statements); err != nil {
		return err
	}
	made, err := o.state(r, home, exp)
	if err != nil {
		return err
	}
	if _, err := client.AppendStatements(ctx, made...); err != nil {
		return fmt.Errorf("append statements: %w", err)
	}
	if _, err := home.Learn(made); err != nil {
		return err
	}
	fmt.Printf("team_id: %s\nteam_fp: %s\napi_url: %s\nrendezvous_url: %s\n", r.TeamID(), r.TeamFP(), o.api, o.rendezvous)
	return nil
}

// state signs the servers, the machine, the auditor and the policy.
func (o options) state(r *roster.Roster, home *profile.Home, exp int64) ([][]byte, error) {
	var grant, token, log, meet, agent key.Public
	var recipient key.Recipient
	err := errors.Join(
		read(o.servers, map[string]encoding.TextUnmarshaler{"grant": &grant, "token": &token, "log": &log, "rendezvous": &meet}),
		read(o.agent, map[string]encoding.TextUnmarshaler{"public": &agent, "recipient": &recipient}),
	)
	if err != nil {
		return nil, err
	}
	policy := fmt.Appendf(nil, `version: 1
mode: allowlist
allowlist:
  - {name: sre, members: ["role:sre"], targets: {tags: {env: staging}}, sessions: [shell, exec], as: [%q, root]}
commands: {default: low, tiers: {low: allow}}
gate: none
`, o.user)
	if err := r.CheckPolicy(policy); err != nil {
		return nil, err
	}
	var made [][]byte
	for _, s := range []struct {
		kind roster.Kind
		body any
	}{
		{roster.KindServerKeys, roster.ServerKeys{
			Grant: []key.Public{grant}, Token: []key.Public{token}, Log: []key.Public{log},
			Rendezvous: []key.Public{meet}, Relays: []string{o.relay},
		}},
		{roster.KindRecipients, roster.Recipients{Auditors: []key.Recipient{home.Unsealer.Recipient()}}},
		{roster.KindAgentAdd, roster.AgentAdd{
			Name: "web-1", Public: agent, Recipient: recipient, Tags: map[string]string{"env": "staging"}, LoginUser: o.user, Exp: exp,
		}},
		{roster.KindPolicySet, roster.PolicySet{Version: 1, Hash: envelope.Sum(policy), Document: policy}},
	} {
		st, err := r.Next(time.Now(), s.kind, s.body, home.Identity)
		if err != nil {
			return nil, err
		}
		if r, err = r.Apply(st); err != nil {
			return nil, err
		}
		made = append(made, st)
	}
	return made, nil
}

// read finds the values of lines "NAME VALUE" in a file.
func read(file string, into map[string]encoding.TextUnmarshaler) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 2 || into[f[0]] == nil {
			continue
		}
		if err := into[f[0]].UnmarshalText([]byte(f[1])); err != nil {
			return fmt.Errorf("%s: %s: %w", file, f[0], err)
		}
		delete(into, f[0])
	}
	if len(into) > 0 {
		return fmt.Errorf("%s: lacks a key that it should hold", file)
	}
	return nil
}
