// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"strings"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// readRules returns the rules of a chain of ours, in order, as exprsText
// renders them. The library's own reader leaves out what it doesn't know, the
// expression "socket" for one: a rule would seem to have a condition less.
func readRules(conn *netlink.Conn, f nft.TableFamily, chain string) ([]string, error) {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_RULE_TABLE, Data: append([]byte(tableName), 0)},
		{Type: unix.NFTA_RULE_CHAIN, Data: append([]byte(chain), 0)},
	})
	if err != nil {
		return nil, err
	}
	// nfgenmsg of linux/netfilter/nfnetlink.h: the family, version 0, no resource.
	header := []byte{byte(f), unix.NFNETLINK_V0, 0, 0}
	found, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: netlink.Request | netlink.Dump},
		Data:   append(header, attrs...),
	})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range found {
		text, err := readRule(byte(f), m.Data[min(len(header), len(m.Data)):])
		if err != nil {
			return nil, fmt.Errorf("read rule %d: %w", len(out)+1, err)
		}
		out = append(out, text)
	}
	return out, nil
}

func readRule(family byte, attrs []byte) (string, error) {
	rule, err := netlink.NewAttributeDecoder(attrs)
	if err != nil {
		return "", err
	}
	var parts []string
	for rule.Next() {
		if rule.Type() != unix.NFTA_RULE_EXPRESSIONS {
			continue
		}
		rule.Nested(func(list *netlink.AttributeDecoder) error {
			for list.Next() {
				list.Nested(func(e *netlink.AttributeDecoder) error {
					text, err := readExpr(family, e)
					parts = append(parts, text)
					return err
				})
			}
			return nil
		})
	}
	return strings.Join(parts, " "), rule.Err()
}

// readExpr renders what is none of ours by its name and its bytes.
func readExpr(family byte, attrs *netlink.AttributeDecoder) (string, error) {
	var name string
	var data []byte
	for attrs.Next() {
		switch attrs.Type() {
		case unix.NFTA_EXPR_NAME:
			name = attrs.String()
		case unix.NFTA_EXPR_DATA:
			data = attrs.Bytes()
		}
	}
	e := emptyExpr(name)
	if e == nil {
		return fmt.Sprintf("%s{%x}", name, data), nil
	}
	if err := expr.Unmarshal(family, data, e); err != nil {
		return "", fmt.Errorf("read expression %s: %w", name, err)
	}
	if i, ok := e.(*expr.Immediate); ok && i.Register == unix.NFT_REG_VERDICT {
		e = &expr.Verdict{} // the kernel has one name for both
		if err := expr.Unmarshal(family, data, e); err != nil {
			return "", fmt.Errorf("read verdict: %w", err)
		}
	}
	return exprText(e), nil
}

// emptyExpr returns nil for expressions that no rule of ours has.
func emptyExpr(name string) expr.Any {
	switch name {
	case "bitwise":
		return &expr.Bitwise{}
	case "cmp":
		return &expr.Cmp{}
	case "counter":
		return &expr.Counter{}
	case "ct":
		return &expr.Ct{}
	case "immediate":
		return &expr.Immediate{}
	case "lookup":
		return &expr.Lookup{}
	case "meta":
		return &expr.Meta{}
	case "payload":
		return &expr.Payload{}
	case "redir":
		return &expr.Redir{}
	case "socket":
		return &expr.Socket{}
	default:
		return nil
	}
}
