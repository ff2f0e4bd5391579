// Package s3 is a blob.Store in a bucket of S3, MinIO, R2 or anything that
// speaks their protocol. The bucket must exist; nothing here makes or empties
// one, and nothing deletes.
//
// It must not import a service package, and an agent must not import it: agents
// get one URL for one object.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tucdesk/tucdesk/internal/recording/blob"
)

// Config says where the bucket is. The secret reaches no log: a Config prints
// without it.
type Config struct {
	Endpoint string // URL: scheme, host and port
	Region   string // empty: us-east-1
	Bucket   string
	Prefix   string // of all names in the bucket; empty, or ends in a slash
	KeyID    string
	Secret   string
}

// String leaves the secret out.
func (c Config) String() string { return c.Endpoint + "/" + c.Bucket + "/" + c.Prefix }

// GoString leaves the secret out.
func (c Config) GoString() string { return c.String() }

// A Store keeps objects in a bucket.
type Store struct {
	client *minio.Client
	bucket string
	prefix string
}

var (
	_ blob.Store     = (*Store)(nil)
	_ blob.Presigner = (*Store)(nil)
)

// New makes a store. It does not touch the network.
func New(c Config) (*Store, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Path != "" && u.Path != "/" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("blob: s3 endpoint: want https://host[:port]")
	}
	if c.Bucket == "" || c.KeyID == "" || c.Secret == "" {
		return nil, errors.New("blob: s3 needs a bucket, a key id and a secret")
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(c.KeyID, c.Secret, ""), Secure: u.Scheme == "https", Region: c.Region,
	})
	if err != nil {
		return nil, fmt.Errorf("blob: s3: %w", err)
	}
	return &Store{client, c.Bucket, c.Prefix}, nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := blob.CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("blob: s3: %w", err)
	}
	_, err := s.client.PutObject(ctx, s.bucket, s.prefix+name, r, size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", DisableMultipart: true,
	})
	return s.wrap(name, err)
}

// Get implements blob.Store.
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	if err := blob.CheckName(name); err != nil {
		return nil, 0, err
	}
	o, err := s.client.GetObject(ctx, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, 0, s.wrap(name, err)
	}
	st, err := o.Stat()
	if err != nil {
		return nil, 0, errors.Join(s.wrap(name, err), o.Close())
	}
	return o, st.Size, nil
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, name string) (int64, error) {
	if err := blob.CheckName(name); err != nil {
		return 0, err
	}
	st, err := s.client.StatObject(ctx, s.bucket, s.prefix+name, minio.StatObjectOptions{})
	return st.Size, s.wrap(name, err)
}

// PresignPut implements blob.Presigner.
func (s *Store) PresignPut(ctx context.Context, name string, expires time.Duration) (string, error) {
	if err := blob.CheckName(name); err != nil {
		return "", err
	}
	u, err := s.client.PresignedPutObject(ctx, s.bucket, s.prefix+name, expires)
	if err != nil {
		return "", s.wrap(name, err)
	}
	return u.String(), nil
}

func (s *Store) wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return fmt.Errorf("%w: %s", blob.ErrNotFound, name)
	}
	return fmt.Errorf("blob: s3: %w", err)
}
