package roster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
)

// Describe says in words all that a statement would do, from the bytes that are signed:
// the first line sums it up, the others are its fields. r names who stands in it already.
// It checks nothing, and the lines hold text of whoever made it: show them through
// internal/sanitize.
func (r *Roster) Describe(st []byte) ([]string, error) {
	s, err := insecureStatement(st)
	if err != nil {
		return nil, err
	}
	lines, err := r.describeBody(s)
	if err != nil {
		return nil, fmt.Errorf("roster: statement %d (%s): %w", s.Seq, s.Kind, err)
	}
	return append(lines, fmt.Sprintf("statement %d (%s), dated %s", s.Seq, s.Kind, day(s.Time))), nil
}

func (r *Roster) describeBody(s statement) ([]string, error) {
	switch s.Kind {
	case KindMemberAdd:
		return describe(s, func(b MemberAdd) []string {
			return deviceLines(fmt.Sprintf("add the member %s with the roles: %s", b.Email, strings.Join(b.Roles, " ")), b.Device)
		})
	case KindAdminAdd:
		return describe(s, func(b AdminDevice) []string {
			return deviceLines(fmt.Sprintf("make %s an ADMIN, with the further roles: %s", b.Email, strings.Join(b.Roles, " ")), b.Device)
		})
	case KindDeviceAdd:
		return describe(s, func(b DeviceAdd) []string {
			return deviceLines("add a device to the member "+r.memberName(b.MemberID), b.Device)
		})
	case KindAgentAdd:
		return describe(s, func(b AgentAdd) []string {
			return []string{
				"add the machine " + b.Name, "key: " + b.Public.Kid().String(), "tags: " + tagWords(b.Tags),
				"login user: " + b.LoginUser, "valid until: " + day(b.Exp),
			}
		})
	case KindRevoke, KindAdminRemove, KindAdminSuspend:
		what := map[Kind]string{KindRevoke: "revoke", KindAdminRemove: "remove the ADMIN", KindAdminSuspend: "suspend the ADMIN"}[s.Kind]
		return describe(s, func(b Revoke) []string {
			return []string{what + " " + r.keyName(b.Kid), "key: " + b.Kid.String(), "reason: " + b.Reason}
		})
	case KindThreshold:
		return describe(s, func(b Threshold) []string {
			return []string{fmt.Sprintf("let %d admin signature(s) widen power, instead of %d", b.K, r.threshold)}
		})
	case KindPolicySet:
		return describe(s, func(b PolicySet) []string {
			lines := []string{fmt.Sprintf("set version %d of the policy", b.Version), "hash: " + b.Hash.String(), "document:"}
			return append(lines, indented(b.Document)...)
		})
	case KindRunbookSet:
		return describe(s, func(b RunbookSet) []string {
			if len(b.Document) == 0 {
				return []string{fmt.Sprintf("take the runbook %s away (as version %d)", b.Name, b.Version)}
			}
			lines := []string{fmt.Sprintf("set version %d of the runbook %s", b.Version, b.Name), "hash: " + b.Hash.String(), "document:"}
			return append(lines, indented(b.Document)...)
		})
	case KindServerKeys:
		return describe(s, func(b ServerKeys) []string {
			lines := []string{"let servers sign with these keys, and with no others"}
			for _, p := range []Purpose{ServerGrant, ServerToken, ServerLog, ServerRendezvous} {
				for _, k := range b.of(p) {
					lines = append(lines, fmt.Sprintf("%s: %s", p, k))
				}
			}
			for _, a := range b.Relays {
				lines = append(lines, "relay: "+a)
			}
			return lines
		})
	case KindRecipients:
		return describe(s, func(b Recipients) []string {
			lines := []string{fmt.Sprintf("seal commands and recordings to %d auditor(s)", len(b.Auditors))}
			for _, a := range b.Auditors {
				lines = append(lines, "auditor: "+r.recipientName(a))
			}
			return lines
		})
	case KindDelegate:
		return describe(s, func(b Delegation) []string {
			if b.Max == 0 {
				return []string{"let " + r.keyName(b.Kid) + " add no more machines by itself", "key: " + b.Kid.String()}
			}
			return []string{
				fmt.Sprintf("let %s add %d machine(s) by itself", r.keyName(b.Kid), b.Max), "key: " + b.Kid.String(),
				"their names begin with: " + b.Names, "their tags begin with: " + tagWords(b.Tags), "login user: " + b.LoginUser, "until: " + day(b.Exp),
			}
		})
	case KindRestart:
		return describe(s, func(b Restart) []string {
			return []string{
				fmt.Sprintf("let the audit log go on from %d entries: %d that were signed are LOST", b.Size, b.Lost-min(b.Size, b.Lost)),
				"root: " + b.Root.String(), "reason: " + b.Reason,
			}
		})
	}
	return nil, fmt.Errorf("%w: this kind is not known here; update TucDesk", ErrRefused)
}

func describe[T any](s statement, words func(T) []string) ([]string, error) {
	var b T
	if err := envelope.Unmarshal(s.Body, &b); err != nil {
		return nil, err
	}
	return words(b), nil
}

// indented are the lines of a document, set off from what is around them.
func indented(document []byte) (lines []string) {
	for line := range strings.Lines(string(document)) {
		lines = append(lines, "  "+strings.TrimSuffix(line, "\n"))
	}
	return lines
}

func deviceLines(what string, d DeviceBody) []string {
	return []string{what, "key: " + d.Public.Kid().String(), "valid until: " + day(d.Exp)}
}

func day(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

func tagWords(tags map[string]string) string {
	words := make([]string, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		words = append(words, k+"="+tags[k])
	}
	return strings.Join(words, " ")
}

// keyName says whose a key is.
func (r *Roster) keyName(k key.Kid) string {
	if d, ok := r.EverDevice(k); ok {
		return "a device of " + d.Email
	}
	if a, ok := r.EverAgent(k); ok {
		return "the machine " + a.Name
	}
	return "a key that the roster does not know"
}

func (r *Roster) memberName(id string) string {
	if m, ok := r.members[id]; ok {
		return m.email
	}
	return id
}

func (r *Roster) recipientName(to key.Recipient) string {
	for k, d := range r.devices {
		if d.Recipient == to {
			return r.describe(k, d).Email + " (" + k.Short() + ")"
		}
	}
	return to.String()
}
