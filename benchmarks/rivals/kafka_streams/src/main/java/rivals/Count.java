package rivals;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams counts the records of each stream and publishes every count, exactly once.
 *
 * <p>java rivals.Count BOOTSTRAP INPUT OUTPUT GROUP RECORDS
 *
 * <p>The store is in memory, with its changelog: RocksDB took more CPU, and a cache before the store saved none. What
 * is tuned beside that stands in `settings`; longer polls and another linger made no difference beyond the noise.
 *
 * <p>It goes over the records twice, the first time as another application into a topic of its own: the second time,
 * which is measured, finds compiled code.
 */
public final class Count {
    private Count() {}

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String input = args[1];
        String output = args[2];
        String group = args[3];
        long records = Long.parseLong(args[4]);
        String practice = group + "-practice";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            NewTopic topic = new NewTopic(practice, Optional.empty(), Optional.empty());
            admin.createTopics(List.of(topic)).all().get();
        }
        run(bootstrap, input, practice, practice, records);
        System.out.println(run(bootstrap, input, output, group, records));
    }

    private static Stopwatch run(String bootstrap, String input, String output, String group, long records)
            throws Exception {
        Path folder = Files.createTempDirectory(group);
        folder.toFile().deleteOnExit();
        Stopwatch watch = new Stopwatch(records);
        KafkaStreams streams =
                new KafkaStreams(topology(input, output, watch), settings(bootstrap, group, folder), watch);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.start();
        watch.await();
        streams.close();
        streams.cleanUp();
        return watch;
    }

    private static Topology topology(String input, String output, Stopwatch watch) {
        StoreBuilder<KeyValueStore<String, Long>> counts =
                Stores.keyValueStoreBuilder(
                                Stores.inMemoryKeyValueStore(Counter.STORE), Serdes.String(), Serdes.Long())
                        .withCachingDisabled();
        return new Topology()
                .addSource("input", Serdes.String().deserializer(), Serdes.ByteArray().deserializer(), input)
                .addProcessor("count", () -> new Counter(watch), "input")
                .addStateStore(counts, "count")
                .addSink("output", output, Serdes.String().serializer(), Serdes.String().serializer(), "count");
    }

    private static Properties settings(String bootstrap, String group, Path folder) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, group);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder.toString());
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        // batches of 1 MiB, as benchmarks/pass_through.py has; they linger for 100 ms by default
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 1 << 20);
        // a partition is paused less often, and whole fetches are taken
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        return settings;
    }
}
