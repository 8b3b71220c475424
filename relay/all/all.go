// SPDX-License-Identifier: Apache-2.0

package all

import (
	"sotto/relay"
	"sotto/relay/account"
	"sotto/relay/admin"
	"sotto/relay/archive"
	"sotto/relay/block"
	"sotto/relay/budget"
	"sotto/relay/chat"
	"sotto/relay/command"
	"sotto/relay/device"
	"sotto/relay/fast"
	"sotto/relay/info"
	"sotto/relay/link"
	"sotto/relay/muc"
	"sotto/relay/private"
	"sotto/relay/proxy"
	"sotto/relay/pubsub"
	"sotto/relay/push"
	"sotto/relay/roster"
	"sotto/relay/services"
	"sotto/relay/unified"
	"sotto/relay/upload"
	"sotto/relay/vcard"
	"sotto/relay/web"
)

// Options are the choices of an operator that families ask for.
type Options struct {
	Door   *account.Door // how people get accounts (XEP-0077); nil: from the operator only
	Rooms  muc.Options
	Pubsub pubsub.Options
	Upload upload.Options
	Budget budget.Options
	Info   info.Options
	Stop   func(again bool) // ends the process (XEP-0133 §4.30); nil: nobody may from afar
	Chat   chat.Options
	Push   push.Options
	Link   link.Options
	Proxy  proxy.Options
	Calls  services.Options
}

// Add registers all families.
func Add(s *relay.Server, o Options) error {
	info.Add(s, o.Info)
	roster.Add(s)
	budget.Add(s, o.Budget)
	block.Add(s)
	fast.Add(s)
	device.Add(s)
	command.Add(s)
	if err := pubsub.Add(s, o.Pubsub); err != nil {
		return err
	}
	web.Add(s)
	chat.Add(s, o.Chat)
	upload.Add(s, o.Upload)
	unified.Add(s)
	private.Add(s)
	vcard.Add(s)
	if err := push.Add(s, o.Push); err != nil {
		return err
	}
	archive.Add(s) // says what the others do with people's data
	if err := proxy.Add(s, o.Proxy); err != nil {
		return err
	}
	if err := services.Add(s, o.Calls); err != nil {
		return err
	}
	if o.Door != nil {
		account.Add(s, o.Door)
	}
	admin.Add(s, admin.Options{Create: account.Create, SetPassword: account.SetPassword, Stop: o.Stop})
	if err := muc.Add(s, o.Rooms); err != nil {
		return err
	}
	link.Add(s, o.Link) // last: it begins at once with what waits
	return nil
}
