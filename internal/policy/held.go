package policy

// HeldByTier is for a server, which sees no command: v is what Evaluate said of
// the request without it, and the asker says that the command's tier is held.
// It gives the hold that such a command gets, with the people and times of the
// policy's key `approvers`. A deny stays a deny, a hold stays that hold.
func HeldByTier(v Verdict, snap *Snapshot) Verdict {
	if v.Effect == Deny || v.Effect == Hold || snap == nil || snap.Policy == nil {
		return v
	}
	v.Effect = Hold
	v.Reason = "held because of the command's tier, as the asker says: " + snap.Policy.approvers.String()
	v.Obligations.askFor(&snap.Policy.approvers)
	return v
}
