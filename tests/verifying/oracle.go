// What Go itself says: a JSON question per line on stdin, an answer per line on stdout ("" or the error).
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

type question struct {
	Certs  []byte `json:"certs"`
	Bundle []byte `json:"bundle"`
	Usage  string `json:"usage"`
	At     int64  `json:"at"`
	Key    []byte `json:"key"`
}

var usages = map[string]x509.ExtKeyUsage{
	"server": x509.ExtKeyUsageServerAuth,
	"client": x509.ExtKeyUsageClientAuth,
	"any":    x509.ExtKeyUsageAny,
}

// parse reads a certificate file by cockroach's rule: CERTIFICATE blocks alone, at least one, each of which parses.
func parse(data []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a block of type %q", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		found = append(found, cert)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no certificates")
	}
	return found, nil
}

func answer(q question) error {
	if q.Usage == "pair" {
		_, err := tls.X509KeyPair(q.Certs, q.Key)
		return err
	}
	if q.Usage == "pool" {
		if !x509.NewCertPool().AppendCertsFromPEM(q.Bundle) {
			return fmt.Errorf("failed to parse PEM data to pool")
		}
		return nil
	}
	certs, err := parse(q.Certs)
	if err != nil || q.Usage == "" {
		return err
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(q.Bundle)
	for _, cert := range certs[1:] {
		others.AddCert(cert)
	}
	_, err = certs[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: others,
		CurrentTime:   time.Unix(q.At, 0),
		KeyUsages:     []x509.ExtKeyUsage{usages[q.Usage]},
	})
	return err
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			panic(err)
		}
		said := ""
		if err := answer(q); err != nil {
			said = err.Error()
		}
		line, _ := json.Marshal(said)
		fmt.Println(string(line))
	}
}
