package receipts

import (
	"fmt"
	"strings"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/roster"
)

// Notices says that a log has told two stories, with the evidence, and which removal not
// every machine has confirmed.
func Notices(forks, missing []string, gone roster.Removal) (out []backend.Notice) {
	if len(forks) > 0 {
		out = append(out, backend.Notice{
			Grave: true, Short: "the audit log told two stories",
			Text: "The audit log has told two stories; evidence: " + strings.Join(forks, ", ") + ". Tell the admins and auditors of your team.",
		})
	}
	if len(missing) > 0 {
		out = append(out, backend.Notice{
			Short: fmt.Sprintf("%d not confirmed: removal", len(missing)),
			Text:  fmt.Sprintf("%d machine(s) have not confirmed that %s was removed; `tucdesk doctor` names them.", len(missing), gone.What),
		})
	}
	return out
}
