// Reads by gorilla/websocket and counts. Arguments: the peer's port, the number of connections.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/gorilla/websocket"
)

var count int64

func main() {
	connections, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	url := fmt.Sprintf("ws://127.0.0.1:%s/", os.Args[1])
	for index := 0; index < connections; index++ {
		connection, _, err := websocket.DefaultDialer.Dial(url, nil)
		if err != nil {
			log.Fatal(err)
		}
		go read(connection)
	}
	select {}
}

func read(connection *websocket.Conn) {
	for {
		if _, _, err := connection.ReadMessage(); err != nil {
			return
		}
		atomic.AddInt64(&count, 1)
	}
}
