// Package webhook tells a site's chat, or a program of theirs, that a request waits
// for approval.
//
// A call is POST with a JSON object. Slack and what is compatible with it shows its
// "text"; the other fields are for programs:
//
//	event "approval", id, team, target, operator, tier, ask_until (unix seconds), open
//	(the command that shows it)
//
// Header TucDesk-Signature is "t=SECONDS,v1=HEX": HMAC-SHA256, under the secret of the
// configuration, of the decimal SECONDS, a full stop, and the body. Who receives it
// compares in constant time and refuses what is older than five minutes.
//
// Invariants:
//   - a message says who asks, where and how risky; never the command, which apid
//     does not have, and never a reason;
//   - where it goes to is said by the configuration file, never by the database;
//   - what waits to be sent, the tries and their time are bounded; a receiver that is
//     away delays nothing else.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Header carries the signature.
const Header = "TucDesk-Signature"

const (
	maxWaiting = 256
	tries      = 3
	answerIn   = 10 * time.Second
	minSecret  = 16
)

// A Notice is what a message is about. Operator and Target are names of the roster.
type Notice struct {
	ID, Team, Target, Operator, Tier string
	AskUntil                         time.Time
}

type message struct {
	Text     string `json:"text"`
	Event    string `json:"event"`
	ID       string `json:"id"`
	Team     string `json:"team"`
	Target   string `json:"target"`
	Operator string `json:"operator"`
	Tier     string `json:"tier,omitempty"`
	AskUntil int64  `json:"ask_until"`
	Open     string `json:"open"`
}

// A Hook sends notices to one address. A nil Hook sends none.
type Hook struct {
	url    string
	secret []byte
	client *http.Client
	pause  time.Duration // before the second try; the third waits twice as long
	logger *slog.Logger
	queue  chan Notice
	now    func() time.Time
}

// New makes a hook. The address is https, or http on this machine; the secret has at
// least 16 bytes.
func New(address string, secret []byte, logger *slog.Logger) (*Hook, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("webhook: not an address") // it may hold a secret: it is not repeated
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && !(u.Scheme == "http" && (u.Hostname() == "localhost" || ip.IsLoopback())) {
		return nil, errors.New("webhook: the address must begin with https://")
	}
	if secret = bytes.TrimSpace(secret); len(secret) < minSecret {
		return nil, fmt.Errorf("webhook: the secret has %d bytes, at least %d", len(secret), minSecret)
	}
	return &Hook{
		url: u.String(), secret: secret, logger: logger, queue: make(chan Notice, maxWaiting), now: time.Now, pause: 2 * time.Second,
		client: &http.Client{Timeout: answerIn, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Open makes the hook of a configuration: none, where there is no address. The secret
// is the content of a file.
func Open(address, secretFile string, logger *slog.Logger) (*Hook, error) {
	if address == "" {
		return nil, nil
	}
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return nil, fmt.Errorf("webhook: its secret: %w", err)
	}
	return New(address, secret, logger)
}

// Tell takes a notice to be sent, and returns at once. When too many wait, it is
// dropped, and that is logged: the console shows what waits in any case.
func (h *Hook) Tell(n Notice) {
	if h == nil {
		return
	}
	select {
	case h.queue <- n:
	default:
		h.logger.Warn("too many notices wait for the webhook; one is dropped", "approval", n.ID)
	}
}

// Run sends until ctx is done.
func (h *Hook) Run(ctx context.Context) {
	if h == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-h.queue:
			if err := h.deliver(ctx, n); err != nil && ctx.Err() == nil {
				h.logger.Warn("the webhook did not take a notice", "approval", n.ID, "err", err)
			}
		}
	}
}

func (h *Hook) deliver(ctx context.Context, n Notice) (err error) {
	pause := h.pause
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
			pause *= 2
		}
		var again bool
		if again, err = h.post(ctx, n); err == nil || !again {
			return err
		}
	}
	return err
}

// post sends one message. again says that another try may help.
func (h *Hook) post(ctx context.Context, n Notice) (again bool, err error) {
	open := "tucdesk approvals show " + n.ID
	body, err := json.Marshal(message{
		Text:  plain(fmt.Sprintf("%s asks for approval on %s (%s). %s", n.Operator, n.Target, tier(n.Tier), open)),
		Event: "approval", ID: n.ID, Team: n.Team, Target: n.Target, Operator: n.Operator, Tier: n.Tier,
		AskUntil: n.AskUntil.Unix(), Open: open,
	})
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("webhook: not an address")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(Header, h.sign(h.now().Unix(), body))
	resp, err := h.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which may hold a secret
		}
		return true, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 4096))
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, fmt.Errorf("webhook: answered %d", resp.StatusCode)
}

func (h *Hook) sign(at int64, body []byte) string {
	t := strconv.FormatInt(at, 10)
	m := hmac.New(sha256.New, h.secret)
	m.Write([]byte(t + "."))
	m.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(m.Sum(nil))
}

func tier(t string) string {
	if t == "" {
		return "held by a rule"
	}
	return t
}

// plain takes out of a line what a chat would act on: controls, and markup of links
// and of mentions.
func plain(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(sanitize.Clean(s).String())
}
