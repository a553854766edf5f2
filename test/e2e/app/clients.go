// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// maxReply bounds what a client reads of one answer.
const maxReply = 1 << 20

// getHTTP makes -n requests over one client and prints each body: GET, or POST of
// -json.
func getHTTP(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	requests := flags.Int("n", 1, "requests")
	post := flags.String("json", "", "body to POST")
	timeout := flags.Duration("timeout", 10*time.Second, "limit of one request")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client := &http.Client{Timeout: *timeout, Transport: &http.Transport{
		// The servers' certificates are made at their start: nobody could know them.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	for range *requests {
		method := http.MethodGet
		if *post != "" {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(ctx, method, flags.Arg(0), strings.NewReader(*post))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
		resp.Body.Close()
		if err != nil {
			return fmt.Errorf("read body: %w", err)
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s: %s", resp.Status, body)
		}
		os.Stdout.Write(body)
	}
	return nil
}

// callTCP sends one line that is no known protocol and prints the answer.
func callTCP(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: app tcp HOST:PORT")
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("\x01\x02 hello\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	_, err = os.Stdout.WriteString(line)
	return err
}

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

// watch follows a resource of the API server through https://kubernetes.default
// with the pod's own token, prints each event as it comes, and ends after -n.
func watch(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	events := flags.Int("n", 1, "events to wait for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ca, err := os.ReadFile(serviceAccount + "ca.crt")
	if err != nil {
		return err
	}
	token, err := os.ReadFile(serviceAccount + "token")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://kubernetes.default"+flags.Arg(0), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxReply)
	for range *events {
		if !lines.Scan() {
			return fmt.Errorf("watch ended (status %s): %w", resp.Status, lines.Err())
		}
		fmt.Fprintln(os.Stdout, lines.Text())
	}
	return nil
}

// callNATS subscribes and publishes over two connections and prints what came.
func callNATS(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: app nats HOST:PORT")
	}
	url := "nats://" + args[0]
	sub, err := nats.Connect(url, nats.Timeout(5*time.Second))
	if err != nil {
		return fmt.Errorf("connect subscriber: %w", err)
	}
	defer sub.Close()
	pub, err := nats.Connect(url, nats.Timeout(5*time.Second))
	if err != nil {
		return fmt.Errorf("connect publisher: %w", err)
	}
	defer pub.Close()
	inbox, err := sub.SubscribeSync("e2e")
	if err != nil {
		return err
	}
	if err := sub.Flush(); err != nil {
		return err
	}
	if err := pub.Publish("e2e", []byte(`{"proto":"nats"}`)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	message, err := inbox.NextMsgWithContext(ctx)
	if err != nil {
		return fmt.Errorf("wait for message: %w", err)
	}
	fmt.Fprintln(os.Stdout, string(message.Data))
	return nil
}
