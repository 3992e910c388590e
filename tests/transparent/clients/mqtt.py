"""A client of MQTT, as the package `paho-mqtt` has it: PORT. It reads what it publishes, and comes back by itself."""

import sys
import time

import paho.mqtt.client as mqtt


def on_connect(client, userdata, flags, reason, properties):
    print("connected", reason, flush=True)
    client.subscribe("news")


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, transport="websockets")
client.ws_set_options(path="/v1/endpoints/e/ws?transparent=true")
client.reconnect_delay_set(min_delay=1, max_delay=1)
client.on_connect = on_connect
client.on_message = lambda client, userdata, message: print("heard", message.payload.decode(), flush=True)
client.connect_async("127.0.0.1", int(sys.argv[1]), keepalive=10)
client.loop_start()
while True:
    time.sleep(0.1)
    if client.is_connected():
        client.publish("news", "hello")
