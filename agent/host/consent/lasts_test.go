package consent

import (
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/approval"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/token"
)

// TestLasts: the shortest time that anybody has signed holds; what is no approval, or says
// nothing, lengthens nothing.
func TestLasts(t *testing.T) {
	signed := func(n byte, lasts int64) []byte {
		bob := key.IdentityFromSeed([32]byte{n})
		b, err := approval.SignApproval(bob, approval.Approval{
			ID: token.ID{1}, TeamFP: envelope.Sum([]byte("team")), SessionID: token.ID{2}, Agent: key.IdentityFromSeed([32]byte{90}).Kid(),
			Operator: key.IdentityFromSeed([32]byte{91}).Kid(), Kind: "exec", As: "deploy",
			Command:    token.Command{V: token.Version, Argv: []string{"id"}, Stdin: token.StdinNone, Salt: token.ID{3}},
			PolicyHash: envelope.Sum([]byte("policy")), RosterHead: token.Head{Seq: 7, Hash: envelope.Sum([]byte("head"))},
			AskHash: envelope.Sum([]byte("ask")), UseUntil: 200, Nonce: token.ID{4}, Approver: bob.Kid(), Decided: 100, Lasts: lasts,
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tc := range []struct {
		given [][]byte
		want  time.Duration
	}{
		{nil, 0},
		{[][]byte{signed(1, 0)}, 0},
		{[][]byte{signed(1, 1800)}, 30 * time.Minute},
		{[][]byte{signed(1, 1800), signed(2, 60), signed(3, 0)}, time.Minute},
		{[][]byte{[]byte("noise"), nil, signed(1, 5)}, 5 * time.Second},
	} {
		if got := Lasts(tc.given); got != tc.want {
			t.Errorf("%d approvals: %v, want %v", len(tc.given), got, tc.want)
		}
	}
	if _, err := approval.SignApproval(key.IdentityFromSeed([32]byte{1}), approval.Approval{Lasts: -1}); err == nil {
		t.Error("a negative time was signed")
	}
}
