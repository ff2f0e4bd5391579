package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// The part of CycloneDX 1.6 (ECMA-424) that we use.
type bom struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp,omitempty"` // of the commit, not of the build
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"` // hexadecimal
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// sbom lists what the Go program at file was built from, as the linker wrote it
// into the program: what go version -m shows.
func sbom(file string) ([]byte, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(program)
	doc := bom{Format: "CycloneDX", SpecVersion: "1.6", Version: 1, Components: []component{standard(info.GoVersion)}}
	main := component{
		Type: "application", Name: filepath.Base(file), Version: info.Main.Version,
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.time":
			doc.Metadata.Timestamp = s.Value
		case "vcs.revision":
			main.Version = s.Value
			main.Properties = append(main.Properties, property{s.Key, s.Value})
		case "vcs.modified", "GOOS", "GOARCH", "CGO_ENABLED", "-trimpath":
			main.Properties = append(main.Properties, property{s.Key, s.Value})
		}
	}
	main.PURL = purl(info.Main.Path, main.Version)
	main.Ref = main.PURL + "#" + strings.TrimPrefix(path.Clean(strings.TrimPrefix(info.Path, info.Main.Path)), "/")
	doc.Metadata.Component = main
	for _, m := range info.Deps {
		c, err := library(m)
		if err != nil {
			return nil, err
		}
		doc.Components = append(doc.Components, c)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(doc)
	return out.Bytes(), err
}

func standard(goVersion string) component {
	v := strings.TrimPrefix(goVersion, "go")
	return component{Type: "library", Name: "std", Version: v, PURL: purl("std", v), Ref: purl("std", v)}
}

// library describes a module. Its hash is the one of go.sum, SHA-256 over the
// names and hashes of its files (golang.org/x/mod/sumdb/dirhash, Hash1).
func library(m *debug.Module) (component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	p := purl(m.Path, m.Version)
	c := component{Type: "library", Name: m.Path, Version: m.Version, PURL: p, Ref: p}
	text, ok := strings.CutPrefix(m.Sum, "h1:")
	if !ok {
		return c, fmt.Errorf("module %s has no checksum: a release is built from published modules only", m.Path)
	}
	sum, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sum) != sha256.Size {
		return c, fmt.Errorf("module %s: checksum %q is not of 32 bytes", m.Path, m.Sum)
	}
	c.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum)}}
	return c, nil
}

// purl gives a package URL (ECMA-427, type golang).
func purl(module, version string) string {
	return "pkg:golang/" + module + "@" + strings.ReplaceAll(version, "+", "%2B")
}
