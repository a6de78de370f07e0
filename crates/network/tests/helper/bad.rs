// SPDX-License-Identifier: Apache-2.0
//! Clients that mean ill.
