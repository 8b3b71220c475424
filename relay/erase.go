// SPDX-License-Identifier: Apache-2.0

package relay

import "sotto/xmpp"

// DeleteUser ends an account: its streams close, and all it had is erased.
func (s *Server) DeleteUser(user string) error {
	for _, f := range s.deleted {
		f(user)
	}
	if err := s.opt.Store.DeleteAccount(user); err != nil {
		return err
	}
	for _, x := range s.hub.of(user) {
		x.closeConn(&xmpp.StreamError{Cond: xmpp.StreamNotAuthorized, Text: "the account was deleted"})
		x.end()
	}
	return nil
}
