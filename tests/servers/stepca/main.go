// step-ca's entry point: Debian ships the packages of smallstep/certificates, but not cmd/step-ca.
// usage: step-ca CONFIG; SIGHUP reloads the configuration.
package main

import (
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/ca"
)

func main() {
	path := os.Args[1]
	settings, err := config.LoadConfiguration(path)
	if err != nil {
		log.Fatal(err)
	}
	server, err := ca.New(settings, ca.WithConfigFile(path))
	if err != nil {
		log.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for s := range signals {
			if s != syscall.SIGHUP {
				server.Stop()
			} else if err := server.Reload(); err != nil {
				log.Println("reload:", err)
			}
		}
	}()
	log.Println(server.Run())
}
