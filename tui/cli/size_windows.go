package cli

import "github.com/tucdesk/tucdesk/backend"

// followSize does nothing: Windows has no signal for it. The size at the start
// stands.
func followSize(backend.Terminal) (stop func()) { return func() {} }
