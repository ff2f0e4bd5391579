package recordings

import (
	"errors"

	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/recording/blob"
	"github.com/tucdesk/tucdesk/internal/recording/blob/fs"
	"github.com/tucdesk/tucdesk/internal/recording/blob/s3"
)

// A Storage says where segments lie: in a folder, or where S3.Endpoint is set in a
// bucket.
type Storage struct {
	Folder string
	S3     s3.Config // without the secret
	// Credentials names the file of the bucket's key id and secret.
	Credentials string
}

// Open opens it. A folder is made where it is missing; a bucket must exist.
func (s Storage) Open() (blob.Store, error) {
	if s.S3.Endpoint == "" {
		return fs.Open(s.Folder)
	}
	if s.Credentials == "" {
		return nil, errors.New("recordings: s3_credentials_file is missing: a file with one line, key id and secret")
	}
	var err error
	if s.S3.KeyID, s.S3.Secret, err = keyfile.S3Credentials(s.Credentials); err != nil {
		return nil, err
	}
	return s3.New(s.S3)
}
