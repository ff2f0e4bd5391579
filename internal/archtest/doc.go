// Package archtest holds the project's rules about itself as tests: who may
// import whom, what every package documents, which links of the documentation
// lead somewhere. Each rule carries its reason, because a rule without one is
// the first to be bent.
//
// The walls are data, in walls.go. Run them with:
//
//	go test ./internal/archtest
//
// The package must not be imported by any other.
package archtest
