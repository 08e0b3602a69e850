params.slides = 'slides'
params.out = 'patches'
params.shards = 8

process EXTRACT {
    cpus 8
    memory '16 GB'
    errorStrategy { task.exitStatus in 130..143 ? 'retry' : 'finish' }
    maxRetries 3

    input:
    val shard
    path slides

    output:
    path 'patches/shard-*'

    script:
    """
    dplabtools extract ${slides} --out patches --mpp 0.5 --patch-size 256 \
        --container webdataset --image-type jpg \
        --workers ${task.cpus} --shard ${shard}/${params.shards}
    """
}

process MERGE {
    publishDir params.out, mode: 'copy'

    input:
    path shards

    output:
    path 'merged/*'

    script:
    """
    dplabtools merge ${shards} --out merged --report
    """
}

workflow {
    EXTRACT(Channel.of(1..params.shards), file(params.slides))
    MERGE(EXTRACT.out.collect())
}
