// Package packaging holds what turns the programs into packages: units, example
// settings, maintainer scripts, the Homebrew formula, and tests that all of it
// fits the programs. README.md beside it says how a release is made.
//
// It has no code of its own and nothing imports it. The tools that a release
// runs are in the folder release.
package packaging
