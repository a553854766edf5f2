// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nftables_test

func bareChild() bool { return false }
