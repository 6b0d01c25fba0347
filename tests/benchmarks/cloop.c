/* The C client's own speed: produce one file in chunks, or consume a topic to its end. It promises nothing.
 * cc -O2 -o cloop cloop.c -lrdkafka
 * cloop send BROKER TOPIC PARTITIONS FILE...
 * cloop receive BROKER TOPIC PARTITIONS COUNT FILE */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512 * 1024 };

static rd_kafka_t *client(rd_kafka_type_t type, const char *broker) {
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", broker, why, sizeof why);
    if (type == RD_KAFKA_PRODUCER) {
        rd_kafka_conf_set(conf, "linger.ms", "5", why, sizeof why);
        rd_kafka_conf_set(conf, "batch.size", "1000000", why, sizeof why);
        rd_kafka_conf_set(conf, "queue.buffering.max.kbytes", "32768", why, sizeof why);
    } else {
        rd_kafka_conf_set(conf, "group.id", "cloop", why, sizeof why);
        rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why);
        rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "20", why, sizeof why);
    }
    rd_kafka_t *made = rd_kafka_new(type, conf, why, sizeof why);
    if (!made) { fprintf(stderr, "%s\n", why); exit(1); }
    return made;
}

static long send_files(const char *broker, const char *name, int partitions, char **files, int count) {
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, broker);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
    char *piece = malloc(CHUNK);
    long sent = 0;
    for (int at = 0; at < count; at++) {
        FILE *file = fopen(files[at], "rb");
        if (!file) { perror(files[at]); exit(1); }
        size_t length;
        while ((length = fread(piece, 1, CHUNK, file)) > 0) {
            while (rd_kafka_produce(topic, at % partitions, RD_KAFKA_MSG_F_COPY, piece, length, "k", 1, NULL) == -1)
                rd_kafka_poll(producer, 50);
            rd_kafka_poll(producer, 0);
            sent++;
        }
        fclose(file);
    }
    while (rd_kafka_outq_len(producer) > 0) rd_kafka_poll(producer, 50);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    free(piece);
    return sent;
}

static long receive(const char *broker, const char *name, int partitions, long count, const char *path) {
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, broker);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *places = rd_kafka_topic_partition_list_new(partitions);
    for (int at = 0; at < partitions; at++) rd_kafka_topic_partition_list_add(places, name, at)->offset = 0;
    rd_kafka_assign(consumer, places);
    FILE *out = fopen(path, "wb");
    if (!out) { perror(path); exit(1); }
    long seen = 0;
    while (seen < count) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 1000);
        if (message && !message->err) { fwrite(message->payload, 1, message->len, out); seen++; }
        if (message) rd_kafka_message_destroy(message);
    }
    fclose(out);
    rd_kafka_topic_partition_list_destroy(places);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return seen;
}

int main(int count, char **words) {
    if (count > 5 && !strcmp(words[1], "send"))
        printf("%ld\n", send_files(words[2], words[3], atoi(words[4]), words + 5, count - 5));
    else if (count == 7 && !strcmp(words[1], "receive"))
        printf("%ld\n", receive(words[2], words[3], atoi(words[4]), atol(words[5]), words[6]));
    else { fprintf(stderr, "cloop send|receive BROKER TOPIC PARTITIONS ...\n"); return 2; }
    return 0;
}
