// Release makes what a release says about itself: a list of what is in a program,
// the licences of what it is linked with, the formula for Homebrew. It is a tool
// of .goreleaser.yaml and in no package.
//
// What it writes depends on its input only: no clock, no random number, no name
// of the machine, so that two builds of one commit are equal.
package main

import (
	"fmt"
	"os"
)

const usage = `usage:
  release sbom PROGRAM FILE          write a CycloneDX list of the modules in a program
  release licenses                   print the licences of all modules that the programs are linked with
  release formula SOURCE VERSION     print the Homebrew formula for a source archive`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "sbom":
		doc, err := sbom(args[1])
		if err != nil {
			return err
		}
		return os.WriteFile(args[2], doc, 0o644)
	case len(args) == 1 && args[0] == "licenses":
		text, err := licenses(systems, programs)
		if err != nil {
			return err
		}
		_, err = os.Stdout.WriteString(text)
		return err
	case len(args) == 3 && args[0] == "formula":
		text, err := formula(args[1], args[2])
		if err != nil {
			return err
		}
		_, err = os.Stdout.WriteString(text)
		return err
	}
	return fmt.Errorf("%q is not a command\n%s", args, usage)
}
