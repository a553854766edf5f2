// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// stored is what callEtcd prints: how much of each it did.
type stored struct {
	Puts, Gets, Watched int
}

// callEtcd puts -n keys, has a watch tell of each in order, and gets each: unary
// calls and a stream, of etcd's own client.
func callEtcd(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	n := flags.Int("n", 100, "keys")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"http://" + flags.Arg(0)}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		return fmt.Errorf("connect to etcd: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	prefix := fmt.Sprintf("/%s/%d/", podName(), time.Now().UnixNano())
	events := client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if created := <-events; !created.Created {
		return fmt.Errorf("watch etcd: %w", created.Err())
	}
	var done stored
	for i := range *n {
		if _, err := client.Put(ctx, key(prefix, i), value(i)); err != nil {
			return fmt.Errorf("put key %d: %w", i, err)
		}
		done.Puts++
		got, err := client.Get(ctx, key(prefix, i))
		if err != nil {
			return fmt.Errorf("get key %d: %w", i, err)
		}
		if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != value(i) {
			return fmt.Errorf("get key %d: %v, want %q", i, got.Kvs, value(i))
		}
		done.Gets++
	}
	for done.Watched < *n {
		if err := done.watch(<-events, prefix); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}

func key(prefix string, i int) string { return fmt.Sprintf("%s%06d", prefix, i) }

func value(i int) string { return fmt.Sprintf("value %d", i) }

// watch wants the events in the order of the puts.
func (s *stored) watch(r clientv3.WatchResponse, prefix string) error {
	if err := r.Err(); err != nil || len(r.Events) == 0 {
		return errors.Join(errors.New("the watch ended"), err)
	}
	for _, e := range r.Events {
		if got, want := string(e.Kv.Key), key(prefix, s.Watched); got != want {
			return fmt.Errorf("the watch tells of %s, want %s", got, want)
		}
		s.Watched++
	}
	return nil
}
