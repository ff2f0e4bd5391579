package session

import "time"

// Constants of the specification: changing one changes the protocol.
const (
	version = 1 // SPEC.md 2; one version per message type, never negotiated

	typeHS1  = 0x01
	typeHS2  = 0x02
	typeHS3  = 0x03
	typeRS1  = 0x04
	typeRS2  = 0x05
	typeRS3  = 0x06
	typeData = 0x10

	label        = "tucdesk-session-v1" // SPEC.md 3
	protocolName = "TDH1"               // SPEC.md 3
	resumeName   = "TDH1-resume"        // SPEC.md 9

	contextAgent    = "hs-agent"    // SPEC.md 4, signature of the responder
	contextOperator = "hs-operator" // SPEC.md 4, signature of the initiator
	resumeAgent     = "rs-agent"    // SPEC.md 9, the same in a resume
	resumeOperator  = "rs-operator" // SPEC.md 9

	headerSize    = 20 // of handshake messages and of DATA, bytes
	nonceSize     = 32
	hashSize      = 32
	macSize       = 32
	signatureSize = 64
	pointSize     = 32
	keySize       = 32 // AES-256
	ivSize        = 12 // RFC 8446, section 5.3
	tagSize       = 16
	connIDSize    = 8
	encapsSize    = 1184 // ML-KEM-768 encapsulation key, FIPS 203 table 3
	ciphertext768 = 1088 // ML-KEM-768 ciphertext, FIPS 203 table 3
	evidenceSize  = 8 + hashSize + 8

	maxSuites = 4

	// MaxCheckpoint bounds the signed checkpoint that each side sends, in bytes.
	MaxCheckpoint = 4096
	// MaxHandshake bounds a handshake message, in bytes. The largest real one
	// is HS2 of suite 2 with a full checkpoint.
	MaxHandshake = headerSize + nonceSize + 2 + pointSize + ciphertext768 +
		signatureSize + macSize + evidenceSize + MaxCheckpoint + tagSize

	// RekeyRecords and RekeyBytes are what one key seals at most: well below
	// the limits of AES-GCM (RFC 8446, section 5.5; RFC 9001, appendix B.1).
	// The opener enforces RekeyRecords on its peer.
	RekeyRecords = 1 << 20
	RekeyBytes   = 2 << 30
	// RekeyAfter is how long one key seals at most.
	RekeyAfter = 120 * time.Second

	// maxUnheard is how many epochs a sender begins, because of time, without
	// having heard its peer; maxAhead is how far ahead a receiver looks for one.
	maxUnheard = 4
	maxAhead   = 8

	// maxForgeries is how many records may fail authentication before a
	// direction is given up (RFC 9147, section 4.5.3).
	maxForgeries = 1 << 36

	padStep  = 64   // records are padded to multiples of this
	padBelow = 1024 // while their inner plaintext is shorter than this

	// Overhead is what sealing adds to a payload of padBelow bytes or more:
	// header, record kind and tag. Shorter payloads grow by up to
	// Overhead + 63 bytes.
	Overhead = headerSize + 1 + tagSize
	// MaxPayload bounds the payload of one record, in bytes.
	MaxPayload = 1<<16 - 1 - 1 - tagSize
)

// Constants of this implementation: the peer can't see them.
const (
	// reorderGrace is how long the key before the newest still opens records.
	reorderGrace = 2 * time.Second
)
