package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed tucdesk.rb.tmpl
var formulaText string

// version is a semantic version without the v.
var version = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// formula fills in Homebrew's formula for the source archive of a version.
func formula(archive, of string) (string, error) {
	if !version.MatchString(of) {
		return "", fmt.Errorf("%q is not a version such as 1.2.3", of)
	}
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	t, err := template.New("formula").Option("missingkey=error").Parse(formulaText)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, map[string]string{
		"URL":    fmt.Sprintf("https://github.com/tucdesk/tucdesk/releases/download/v%s/%s", of, filepath.Base(archive)),
		"SHA256": hex.EncodeToString(sum.Sum(nil)),
	})
	return out.String(), err
}
