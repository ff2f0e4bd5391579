// Package membership is the part of the command line that founds, joins and
// changes teams: login, profile, pair, enroll-token, enroll, and the commands
// under roster that change it. It asks people to compare what only people can
// compare, and leaves the rest to tui/team.
//
// What came from a network passes internal/sanitize. Where nobody can be asked,
// what would have been asked is a flag, and without it nothing is changed.
//
// It must not import a service.
package membership
