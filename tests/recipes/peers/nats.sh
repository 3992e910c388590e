#!/usr/bin/env bash
# nats-server with JetStream in this folder: PORT.
exec nats-server --addr 127.0.0.1 --port "$1" --jetstream --store_dir "$PWD"
