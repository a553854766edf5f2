// SPDX-License-Identifier: Apache-2.0

// Package version holds the release that this source tree builds.
package version

// Version is the release: the tag of our images and what every binary prints
// for -version. Semantic Versioning 2.0.0 without the leading "v".
const Version = "0.1.0"
