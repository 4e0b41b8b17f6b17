package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsBroker is an embedded NATS server with one JetStream work queue on disk, synced before every acknowledgement.
type natsBroker struct {
	server *server.Server
	conns  []*nats.Conn
	js     []jetstream.JetStream
	stream jetstream.Stream
}

const natsStart = 60 * time.Second

func startNATS(folder string, conns int) (broker, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: folder, SyncAlways: true, NoLog: true, NoSigs: true,
		JetStreamMaxStore: 64 << 30,
	})
	if err != nil {
		return nil, err
	}
	b := &natsBroker{server: s}
	go s.Start()
	if !s.ReadyForConnections(natsStart) {
		return nil, errors.Join(errors.New("the server did not start"), b.stop())
	}
	for range conns {
		c, err := nats.Connect(s.ClientURL())
		if err != nil {
			return nil, errors.Join(err, b.stop())
		}
		b.conns = append(b.conns, c)
		js, err := jetstream.New(c, jetstream.WithDefaultTimeout(natsStart))
		if err != nil {
			return nil, errors.Join(err, b.stop())
		}
		b.js = append(b.js, js)
	}
	ctx, cancel := context.WithTimeout(context.Background(), natsStart)
	defer cancel()
	b.stream, err = b.js[0].CreateStream(ctx, jetstream.StreamConfig{
		Name: "mail", Subjects: []string{"mail.*"}, Storage: jetstream.FileStorage, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

func (b *natsBroker) put(ctx context.Context, sender int, payload []byte) error {
	_, err := b.js[sender%len(b.js)].Publish(ctx, subject(sender), payload)
	return err
}

// drain fetches in batches and acknowledges each message; the last acknowledgement of a batch is confirmed.
func (b *natsBroker) drain(ctx context.Context, sender int) (n int, err error) {
	consumer, err := b.js[sender%len(b.js)].CreateConsumer(ctx, "mail", jetstream.ConsumerConfig{
		Durable: fmt.Sprintf("owner%d", sender), FilterSubject: subject(sender), AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4096,
	})
	if err != nil {
		return 0, err
	}
	for {
		batch, err := consumer.FetchNoWait(1024)
		if err != nil {
			return n, err
		}
		var last jetstream.Msg
		for m := range batch.Messages() {
			if last != nil {
				if err := last.Ack(); err != nil {
					return n, err
				}
			}
			last = m
			n++
		}
		if err := batch.Error(); err != nil {
			return n, err
		}
		if last == nil {
			return n, nil
		}
		if err := last.DoubleAck(ctx); err != nil {
			return n, err
		}
	}
}

func (b *natsBroker) stop() error {
	for _, c := range b.conns {
		c.Close()
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
	return nil
}

func subject(sender int) string { return fmt.Sprintf("mail.%d", sender) }
