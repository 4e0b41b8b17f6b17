package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

const (
	groupName = "Climbing"
	groupChat = "climbing"
	fileSize  = 3 << 20 // bytes
	reaction  = "👍"
)

// group is made by Alice; Bob and Carol talk in it without being contacts.
func (s *story) group(ctx context.Context) error {
	var g view.Group
	if err := s.laptop.call(ctx, "group_create", api.GroupCreateRequest{Name: groupName, Members: []string{"bob", "carol"}}, &g); err != nil {
		return err
	}
	for _, d := range []*device{s.bob, s.carol} {
		err := d.until(ctx, "the group", func() (bool, error) {
			there := false
			err := d.node.View(func(tx store.Tx) error {
				_, err := talk.FindGroup(tx, groupChat)
				there = err == nil
				return tx.Err()
			})
			return there, err
		})
		if err != nil {
			return err
		}
	}
	m, err := s.post(ctx, s.bob, groupChat, "Who is in for Saturday?", s.laptop, s.phone, s.carol)
	if err == nil {
		err = everywhere(ctx, m)
	}
	if err != nil {
		return err
	}
	s.say("group", "Alice makes a group of three, Bob writes in it: on Carol's laptop and on both of Alice's devices")
	return nil
}

// file goes from Carol to the group, and is saved on Alice's phone.
func (s *story) file(ctx context.Context) error {
	plain := make([]byte, fileSize)
	_, _ = rand.Read(plain)
	path, dir := s.path("topo.gpx"), s.path("saved")
	if err := errors.Join(os.WriteFile(path, plain, 0o600), os.Mkdir(dir, 0o700)); err != nil {
		return err
	}
	const text = "The way up"
	var sent api.Sent
	q := api.SendRequest{To: groupChat, Text: text, Files: []api.FileRequest{{Path: path}}}
	if err := s.carol.call(ctx, "send", q, &sent); err != nil {
		return err
	}
	m := s.posted(s.carol, sent.Message.ID, text, s.laptop, s.phone, s.bob)
	if err := everywhere(ctx, m); err != nil {
		return err
	}
	var saved api.Saved
	if err := s.phone.call(ctx, "file_save", api.SaveRequest{ID: m.id, Dir: dir}, &saved); err != nil {
		return err
	}
	got, err := os.ReadFile(saved.Path)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, plain) {
		return errors.New("the file that Alice's phone saved is not the one that Carol sent")
	}
	s.say("file", "Carol sends %d MiB; Alice's phone saves it, byte for byte", fileSize>>20)
	return nil
}

// react shows that an act on a message is the same everywhere.
func (s *story) react(ctx context.Context) error {
	m := s.sent[len(s.sent)-1]
	if err := s.bob.call(ctx, "react", api.ReactRequest{ID: m.id, Emoji: reaction}, nil); err != nil {
		return err
	}
	for _, d := range []*device{s.laptop, s.phone, s.carol} {
		err := d.until(ctx, "the reaction", func() (bool, error) {
			var v view.Message
			err := d.node.View(func(tx store.Tx) (err error) {
				v, err = talk.Message(tx, m.id)
				return err
			})
			return len(v.Reactions) == 1 && v.Reactions[0].Emoji == reaction, err
		})
		if err != nil {
			return err
		}
	}
	s.say("reaction", "Bob reacts with "+reaction+": three devices show it")
	return nil
}
