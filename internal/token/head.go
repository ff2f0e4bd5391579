package token

import "github.com/tucdesk/tucdesk/internal/roster"

// Head is the roster's, under the name that the fields of this package use.
type Head = roster.Head
