package policy

import (
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/tucdesk/tucdesk/internal/policy/document"
)

// Shapes of values. They say less than the readers where a schema can't say more: that
// a zone exists, that a pattern has a meaning.
var (
	durationShape = document.Matching(regexp.MustCompile(`^[+]?(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+$|^[+]?0$`))
	clockShape    = document.Matching(regexp.MustCompile(`^[0-2][0-9]:[0-5][0-9]$`))
	momentShape   = document.Shape{"type": "string", "format": "date-time", "minLength": 1}
	memberShape   = document.Shape{"type": "string", "pattern": `^role:[^*|]+$|[@*]`, "maxLength": 128}
	membersShape  = document.ListOf(memberShape).AtLeast(1)
	namesShape    = document.ListOf(document.Shape{"type": "string", "minLength": 1, "maxLength": 128, "pattern": `^[^?[\]{}|]+$`}).AtLeast(1)
)

// short writes a whole number of hours or minutes as people do in a document.
func short(d time.Duration) string {
	text := strings.Replace(d.String(), "m0s", "m", 1)
	return strings.Replace(text, "h0m", "h", 1)
}

// Schema returns the JSON Schema of the document, for editors. It is made of the
// fields that Parse reads.
func Schema() []byte {
	d := &docReader{p: &Policy{}}
	var unread ast.Node
	return document.Schema("https://tucdesk.app/schema/policy-1.json", "TucDesk policy",
		"Who may do what on which machine, and who must approve. The language is described in internal/policy/SPEC.md.",
		document.Object(d.fields(&unread, &unread)...))
}
