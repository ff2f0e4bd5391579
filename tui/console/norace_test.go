//go:build !race && unix

package console

// longLine makes 10 MB of the long line in streams.
const longLine = 33
