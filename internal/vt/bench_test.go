package vt

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// streams are what the benchmarks print, each some 100 KB.
func streams() map[string][]byte {
	repeat := func(s string) []byte { return bytes.Repeat([]byte(s), 100<<10/len(s)) }
	var coloured, scattered strings.Builder
	for i := range 16 {
		fmt.Fprintf(&coloured, "\x1b[38;5;%dmtoken%d\x1b[m \x1b[1;3%dmbold\x1b[0m plain ", i*7, i, i%8)
	}
	coloured.WriteString("\r\n")
	for i := range 64 {
		fmt.Fprintf(&scattered, "\x1b[%d;%dH\x1b[48;2;%d;0;%dm%02d\x1b[m", i%50+1, i*37%200+1, i, 255-i, i)
	}
	return map[string][]byte{
		"text":      repeat(strings.Repeat("the quick brown fox jumps over the lazy dog ", 4) + "\r\n"),
		"short":     repeat("a line of some words\r\n"),
		"coloured":  repeat(coloured.String()),
		"scattered": repeat(scattered.String()),
		"region":    append([]byte("\x1b[5;40r\x1b[40H"), repeat("within the margins\r\n")...),
		"wide":      repeat(strings.Repeat("終端機是文字的", 10) + "\r\n"),
		"hangul":    repeat(strings.Repeat("한국어 ", 20) + "\r\n"),
		"marks":     repeat(strings.Repeat("e\u0301a\u0308", 20) + "\r\n"),
		"tower":     repeat("a" + strings.Repeat("\u0301", 1000)),
	}
}

func BenchmarkWrite(b *testing.B) {
	for name, data := range streams() {
		b.Run(name, func(b *testing.B) {
			t := New(200, 50, Options{Scrollback: 10_000})
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				t.Write(data)
				t.Replies()
			}
		})
	}
}

// BenchmarkLine reads a screen as a frame does.
func BenchmarkLine(b *testing.B) {
	t := New(200, 50, Options{})
	t.Write(streams()["coloured"])
	var cells []Cell
	b.ReportAllocs()
	for b.Loop() {
		for y := range 50 {
			cells = t.Line(cells[:0], y)
		}
	}
}

// BenchmarkResize wraps 10,000 lines anew, each time.
func BenchmarkResize(b *testing.B) {
	t := New(200, 50, Options{Scrollback: 10_000})
	for range 20 {
		t.Write(streams()["text"])
	}
	cols := 200
	for b.Loop() {
		cols = 300 - cols // 100 and 200
		t.Resize(cols, 50)
	}
}
