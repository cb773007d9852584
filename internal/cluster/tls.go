package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSFiles names what a TLS connection to the nodes needs.
type TLSFiles struct {
	CA         string // PEM file of the authorities to trust; "" is the system's
	Cert, Key  string // PEM files of the client certificate; both or none
	ServerName string // the name in the nodes' certificates; "" is each node's host

	// InsecureSkipVerify accepts any certificate: whoever can intercept the
	// connection then learns the password.
	InsecureSkipVerify bool
}

// LoadTLS reads the files. They are read at each run, so a renewed certificate
// needs no more than the next run.
func LoadTLS(files TLSFiles) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         files.ServerName,
		InsecureSkipVerify: files.InsecureSkipVerify,
	}
	if files.CA != "" {
		pem, err := os.ReadFile(files.CA)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA file %s: it holds no PEM certificate", files.CA)
		}
	}
	if files.Cert == "" && files.Key == "" {
		return config, nil
	}
	if files.Cert == "" || files.Key == "" {
		return nil, errors.New("load client certificate: the certificate and its key are needed both, or neither")
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("load client certificate %s with key %s: %w", files.Cert, files.Key, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}
